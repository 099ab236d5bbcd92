"""Byte code made by the image's own Python: what is refused, and what Debian's Python does with it."""

import marshal
import platform
import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.closure import bytecode, globs
from imagebuilder.closure.bytecode import _compilers, _pythons, byte_code
from imagebuilder.closure.slimming import slim
from imagebuilder.errors import ClosureError, MachineLacks
from imagebuilder.sources import Context
from imagebuilder.sources.debian import DebianSource
from imagebuilder.sources.layer import Layer
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Node, Tree, file, symlink
from tests.sources.provided import provided

LIBRARY = "/usr/lib/python3.11"
MODULES = (f"{LIBRARY}/re/*.py", f"{LIBRARY}/{{enum,functools,broken}}.py")
DEBIAN = "/usr/lib/python3/dist-packages"
TREE = Tree(
    {path: file(b"x = 1\n") for path in (f"{LIBRARY}/json/__init__.py", "/srv/app.py", f"{DEBIAN}/flask/app.py")}
)


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    assert byte_code(TREE, (), tmp_path) == Tree()


@pytest.mark.parametrize("glob", [f"{LIBRARY}/jsn/*.py", f"{LIBRARY}/json/__init_.py", "/srv/app.pyc", "/src/**"])
def test_a_glob_that_names_no_module_and_the_hint_works(tmp_path: Path, glob: str) -> None:
    with pytest.raises(ClosureError, match=r"names no Python module \(\*\.py\) that is kept") as raised:
        byte_code(TREE, (glob,), tmp_path)
    (meant,) = re.findall('did you mean "([^"]+)"', raised.value.hint or "")
    with pytest.raises(ClosureError, match="has no byte code without python3"):
        byte_code(TREE, (meant,), tmp_path)


def test_modules_that_are_not_kept_are_by_the_hint(tmp_path: Path) -> None:
    with pytest.raises(ClosureError) as raised:
        byte_code(Tree({"/usr/bin/app": file(b"")}), (DEBIAN,), tmp_path)
    assert raised.value.hint == "modules are kept that include names too"
    kept = slim([Layer(TREE, slim=True)], roots=[], include=[DEBIAN], exclude=[]).tree
    with pytest.raises(ClosureError, match="has no byte code without"):
        byte_code(kept, (DEBIAN,), tmp_path)


@pytest.mark.parametrize(
    ("glob", "python"),
    [
        (f"{LIBRARY}/**", r"python3\.11"),
        (f"{LIBRARY}/json", r"python3\.11"),
        ("/srv/app.py", r"python3\.N"),
        ("/usr/lib/python3/dist-packages", r"python3\.N"),
    ],
)
def test_a_python_that_is_not_in_the_image(tmp_path: Path, glob: str, python: str) -> None:
    with pytest.raises(ClosureError, match=f"has no byte code without {python} in a folder bin, which is not kept"):
        byte_code(TREE, (glob,), tmp_path)


def test_an_interpreter_compiles_its_own_and_what_belongs_to_no_version() -> None:
    places = ("/usr/bin/python3.11", "/usr/local/bin/python3.11", "/opt/py/bin/python3.12")
    made = list(_pythons(Tree({path: file(b"", mode=0o755) for path in places})))
    assert [python.prefix for python in made] == ["/opt/py", "/usr", "/usr/local"]

    def compilers(module: str) -> list[str]:
        return [python.program for python in _compilers(module, made)]

    assert compilers(f"{LIBRARY}/abc.py") == ["/usr/bin/python3.11"]
    assert compilers("/usr/local/lib/python3.11/abc.py") == ["/usr/local/bin/python3.11"]
    assert compilers("/opt/venv/lib/python3.12/site-packages/x.py") == ["/opt/py/bin/python3.12"]
    assert compilers("/usr/lib/python3/dist-packages/flask/app.py") == ["/usr/bin/python3.11", "/opt/py/bin/python3.12"]


def test_a_machine_that_cannot_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineLacks, match="runs on x86-64 Linux only"):
        byte_code(TREE, (f"{LIBRARY}/**",), tmp_path)


# With the Python that runs these tests, as an image would have it

VERSION = f"python3.{sys.version_info.minor}"
HOME = f"/usr/lib/{VERSION}"
STANDARD = ("encodings/*", "importlib/*", "collections/*", "re/*", "*.py")


@pytest.fixture(scope="module")
def own() -> Tree:
    """It, its libraries and its own modules; some that are none, and one elsewhere."""
    program, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    libraries = re.findall(r"(\S+) => (/\S+)", process.run(["ldd", program]).text)
    sources = {path for pattern in STANDARD for path in library.glob(pattern) if path.suffix == ".py"}
    contents = {
        f"/usr/bin/{VERSION}": program.read_bytes(),
        TARGET.linker: Path(TARGET.linker).read_bytes(),
        **{f"/usr/lib/{name}": Path(path).read_bytes() for name, path in libraries},
        **{f"{HOME}/{path.relative_to(library)}": path.read_bytes() for path in sources},
        f"{HOME}/broken.py": b"print 'two'\n",
        f"{HOME}/zero.py": b"x = '\0'\n",
        "/srv/page.py": b"page = {'x', 'y', 'z'}\n",
        "/srv/page.txt": b"",
    }
    links = {
        "/usr/bin/python3": symlink(VERSION),
        "/etc/gone": symlink("nowhere"),
        "/srv/linked.py": symlink("page.py"),
    }
    return Tree({path: file(content) for path, content in contents.items()} | links)


@pytest.mark.tools
def test_each_module_has_its_byte_code_beside_it(own: Tree, tmp_path: Path) -> None:
    made = byte_code(own, (f"{HOME}/{{broken,zero,abc}}.py", f"{HOME}/re", "/srv"), tmp_path)
    tag = sys.implementation.cache_tag
    names = [f"{HOME}/re/__pycache__/{path.rpartition('/')[2][:-3]}" for path in own if path.startswith(f"{HOME}/re/")]
    places = ["/srv/__pycache__/page", f"{HOME}/__pycache__/abc", *names]
    assert [path for path, node in made.items() if node.kind is Kind.FILE] == sorted(
        f"{place}.{tag}.pyc" for place in places
    )
    made_of = {place: made[f"{place}.{tag}.pyc"].content.read() for place in places}
    for content in made_of.values():
        assert content[:4] == MAGIC_NUMBER and content[4:8] == b"\1\0\0\0"  # by hash, and not looked at (PEP 552)
    code = marshal.loads(made_of["/srv/__pycache__/page"][16:])
    names_of_code: dict[str, object] = {}
    exec(code, names_of_code)
    assert code.co_filename == "/srv/page.py" and names_of_code["page"] == {"x", "y", "z"}


@pytest.mark.tools
def test_python_is_called_like_this(own: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's linker, libraries and program, none of the user's or the machine's packages, the same hashes."""
    calls: list[tuple[list[str], dict[str, Any]]] = []
    real = process.run

    def run(argv: Sequence[Any], **options: Any) -> process.Completed:
        calls.append(([str(word) for word in argv], options))
        return real(argv, **options)

    monkeypatch.setattr(process, "run", run)
    elsewhere = {
        "/opt/lib/libown.so.1": file(b""),
        f"{HOME}/lib-dynload/own.so": file(b""),
        "/etc/a.so.conf": file(b""),
    }
    byte_code(Tree({**own, **elsewhere}), ("/srv/page.py", f"{HOME}/abc.py"), tmp_path)
    ((words, options),) = calls
    assert words == [
        *(f"{tmp_path}{own.resolve(TARGET.linker)}", "--inhibit-cache", "--library-path"),
        f"{tmp_path}{TARGET.linker.rpartition('/')[0]}:{tmp_path}/opt/lib:{tmp_path}/usr/lib",
        *(f"{tmp_path}/usr/bin/{VERSION}", "-s", "-S", "-B", "-X", "utf8", "-c", bytecode.SCRIPT, str(tmp_path)),
    ]
    assert options == {
        "cwd": tmp_path,
        "env": {"PYTHONHOME": f"{tmp_path}/usr", "PYTHONHASHSEED": "0"},
        "stdin": f"/srv/page.py\0{HOME}/abc.py".encode(),
        "timeout_s": bytecode.COMPILE_S,
    }


@pytest.mark.tools
def test_only_what_is_there_is_laid_out_and_runs(own: Tree, tmp_path: Path) -> None:
    byte_code(own, ("/srv",), tmp_path)
    assert (tmp_path / f"usr/bin/{VERSION}").read_bytes() == (tmp_path / "usr/bin/python3").read_bytes()
    assert not (tmp_path / "usr/bin/python3").is_symlink() and not (tmp_path / "etc").exists()
    assert (tmp_path / "srv/page.txt").stat().st_mode & 0o777 == 0o755


@pytest.mark.tools
def test_a_python_that_never_ends_is_ended(own: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "COMPILE_S", 2.0)
    endless = Tree({**own, f"{HOME}/encodings/__init__.py": file(b"while True: pass\n")})
    with pytest.raises(ClosureError, match=f"byte_code: the image's {VERSION} did not end within 2.0 s"):
        byte_code(endless, ("/srv",), tmp_path)


@pytest.mark.tools
def test_why_a_python_does_not_run(own: Tree, tmp_path: Path) -> None:
    def refusal(tree: Tree) -> ClosureError:
        scratch = tmp_path / str(len(list(tmp_path.iterdir())))
        scratch.mkdir()
        with pytest.raises(ClosureError) as refused:
            byte_code(tree, ("/srv",), scratch)
        assert str(tmp_path) not in str(refused.value)
        return refused.value

    bare = refusal(own.filter(lambda path, _: not path.startswith(f"{HOME}/encodings/")))
    assert "cannot run: ModuleNotFoundError: No module named 'encodings'" in bare.message
    assert bare.hint == f'include = ["{HOME}/**"] keeps its standard library'
    broken = refusal(Tree({**own, f"{HOME}/encodings/__init__.py": file(b"raise ValueError('odd')\n")}))
    assert "cannot run: ValueError: odd" in broken.message and broken.hint is None
    alone = refusal(own.filter(lambda path, _: path != TARGET.linker))
    assert alone.message == f"/srv/page.py has no byte code without {TARGET.linker}, which is not kept in the image"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Traceback:\n  in x\nImportError: no x\n", "ImportError: no x"),
        ("OSError: the first\nImportError: the last\nit ends\n", "ImportError: the last"),
        ("it began\nit ended\n\n", "it ended"),
        ("Fatal Error: below {root}/usr\nit ended", "Fatal Error: below /usr"),
        ("", f"{Path(TARGET.linker).name} failed with status 3: it said nothing"),
        ("  \n", f"{Path(TARGET.linker).name} failed with status 3: it said nothing"),
    ],
)
def test_the_cause_is_the_last_error_that_was_told(own: Tree, tmp_path: Path, said: str, cause: str) -> None:
    """Or the last line; with none, how it ended. A script in the linker's place says it."""
    (tmp_path / "said").write_text(said.format(root=tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    script = f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 3\n".encode()
    spoilt = {path: node for path, node in own.items() if path != TARGET.linker}
    with pytest.raises(ClosureError) as refused:
        byte_code(Tree({**spoilt, TARGET.linker: file(script, mode=0o755)}), ("/srv",), tmp_path / "scratch")
    assert (refused.value.message, refused.value.hint) == (
        f"byte_code: the image's {VERSION} cannot run: {cause}",
        None,
    )


# With Debian's


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Debian's Python with its library, and a module that is none."""
    folder = tmp_path_factory.mktemp("python")
    source = DebianSource(type="debian", release="bookworm", packages=("python3-minimal",))
    layer = provided(source, Context(folder, Store(folder / "store"), lambda event: None))
    tree = slim([layer], roots=["/usr/bin/python3"], include=[f"{LIBRARY}/**"], exclude=[]).tree
    added = {
        f"{LIBRARY}/broken.py": b"print 'two'\n",
        f"{DEBIAN}/own.py": b"name = 'own'\n",
        "/srv/page.py": b"page = 'x'\n",
    }
    return tree.merge(Tree({path: file(text) for path, text in added.items()}))


@pytest.mark.tools
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


@pytest.mark.tools
@pytest.mark.network
def test_debians_modules_and_the_recipes_own_are_compiled_by_the_images_python(python: Tree, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    made = byte_code(python, (DEBIAN, "/srv/*.py"), tmp_path / "scratch")
    files = [path for path, node in made.items() if node.kind is Kind.FILE]
    assert files == ["/srv/__pycache__/page.cpython-311.pyc", f"{DEBIAN}/__pycache__/own.cpython-311.pyc"]
    spoilt = Tree({**python, **made, f"{DEBIAN}/own.py": file(b"raise SystemExit(9)\n")})
    lay_out({path: node for path, node in spoilt.items() if node.kind is Kind.FILE}, tmp_path / "root")
    code = f"import sys; sys.path.append('{tmp_path}/root{DEBIAN}'); import own; print(own.name)"
    assert run(python, tmp_path / "root", code).split() == ["own"]


@pytest.mark.tools
@pytest.mark.network
def test_a_python_without_its_library_is_told_with_a_hint_that_works(python: Tree, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    bare = python.filter(lambda path, _: not path.startswith(f"{LIBRARY}/encodings/"))
    with pytest.raises(ClosureError, match=r"the image's python3\.11 cannot run: .*encodings") as raised:
        byte_code(bare, ("/srv",), tmp_path / "one")
    (glob,) = re.findall(r'include = \["([^"]+)"\]', raised.value.hint or "")
    kept = [path for path in python if globs.matches(path, [glob])]
    assert byte_code(python.filter(lambda path, _: path in bare or path in kept), ("/srv",), tmp_path / "two")


@pytest.mark.tools
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
    linker, interpreter = tree.resolve(TARGET.linker), tree.resolve("/usr/bin/python3.11")
    libraries = sorted({path for path, node in tree.items() if ".so" in path and node.kind is Kind.SYMLINK})
    for link in libraries:
        real = tree.resolve(link)
        if real is not None and tree[real].kind is Kind.FILE and not (root / link[1:]).exists():
            (root / link[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / link[1:]).write_bytes(tree[real].content.read())
    words = [f"{root}{linker}", "--inhibit-cache", "--library-path", f"{root}/usr/lib/x86_64-linux-gnu"]
    program = [f"{root}{interpreter}", "-S", "-s", "-B", "-c", code]
    return process.run([*words, *program], env={"PYTHONHOME": f"{root}/usr"}).text
