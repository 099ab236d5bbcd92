"""Byte code made by the image's own Python: what is refused, and what Debian's Python does with it."""

import platform
from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.closure import slim
from imagebuilder.closure.bytecode import LINKER, byte_code
from imagebuilder.errors import ClosureError, MachineLacks
from imagebuilder.recipe.model import DebianSource
from imagebuilder.sources import SOURCES, Context
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Node, Tree, file

LIBRARY = "/usr/lib/python3.11"
MODULES = (f"{LIBRARY}/re/*.py", f"{LIBRARY}/{{enum,functools,broken}}.py")
TREE = Tree({f"{LIBRARY}/json/__init__.py": file(b"x = 1\n"), "/srv/app.py": file(b"y = 2\n")})


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    assert byte_code(TREE, (), tmp_path) == Tree()


@pytest.mark.parametrize("glob", ["/usr/lib/python3.11/nothing/*.py", "/srv/app.py", "/usr/lib/python3.11/json"])
def test_a_glob_that_names_no_module(tmp_path: Path, glob: str) -> None:
    with pytest.raises(ClosureError, match="names no Python module that is kept"):
        byte_code(TREE, (glob,), tmp_path)


def test_a_python_that_is_not_in_the_image(tmp_path: Path) -> None:
    with pytest.raises(ClosureError, match=r"has no byte code without /usr/bin/python3\.11, which is not kept"):
        byte_code(TREE, (f"{LIBRARY}/**",), tmp_path)


def test_a_machine_that_cannot_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineLacks, match="runs on x86-64 Linux only"):
        byte_code(TREE, (f"{LIBRARY}/**",), tmp_path)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Debian's Python with its library, and a module that is none."""
    folder = tmp_path_factory.mktemp("python")
    source = DebianSource(type="debian", release="bookworm", packages=("python3-minimal",))
    layer = SOURCES["debian"].provide(source, Context(folder, Store(folder / "store"), lambda event: None))
    tree = slim([layer], roots=["/usr/bin/python3"], include=[f"{LIBRARY}/**"], exclude=[]).tree
    return tree.merge(Tree({f"{LIBRARY}/broken.py": file(b"print 'two'\n")}))


@pytest.mark.network
def test_python_uses_it_without_a_look_at_the_source(python: Tree, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    made = byte_code(python, MODULES, tmp_path / "scratch")
    assert f"{LIBRARY}/re/__pycache__/__init__.cpython-311.pyc" in made
    assert not any("broken" in path for path in made)
    spoilt = {path: file(b"raise SystemExit(9)\n") for path in python if path.startswith(f"{LIBRARY}/re/")}
    files = {path: node for path, node in {**made, **python, **spoilt}.items() if path.endswith((".py", ".pyc"))}
    lay_out({path: node for path, node in python.items() if node.kind is Kind.FILE} | files, tmp_path / "root")
    code = "import re; print(re.escape('.'), re.__file__)"
    said = run(python, tmp_path / "root", code)
    assert said.split() == ["\\.", f"{tmp_path}/root{LIBRARY}/re/__init__.py"]


@pytest.mark.network
def test_the_same_bytes_in_another_folder(python: Tree, tmp_path: Path) -> None:
    made = []
    for name in ("one", "another/deeper"):
        (tmp_path / name).mkdir(parents=True)
        made.append(byte_code(python, (f"{LIBRARY}/**",), tmp_path / name))
    assert len(made[0]) > 100 and made[0] == made[1]


def lay_out(files: Mapping[str, Node], root: Path) -> None:
    for path, node in files.items():
        where = root / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(node.content.read())
        where.chmod(0o755)


def run(tree: Tree, root: Path, code: str) -> str:
    """What the image's Python prints, with nothing of this machine."""
    linker, interpreter = tree.resolve(LINKER), tree.resolve("/usr/bin/python3.11")
    libraries = sorted({path for path, node in tree.items() if ".so" in path and node.kind is Kind.SYMLINK})
    for link in libraries:
        real = tree.resolve(link)
        if real is not None and tree[real].kind is Kind.FILE and not (root / link[1:]).exists():
            (root / link[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / link[1:]).write_bytes(tree[real].content.read())
    words = [f"{root}{linker}", "--inhibit-cache", "--library-path", f"{root}/usr/lib/x86_64-linux-gnu"]
    program = [f"{root}{interpreter}", "-S", "-s", "-B", "-c", code]
    return process.run([*words, *program], env={"PYTHONHOME": f"{root}/usr"}).text
