"""The closures of Debian's own programs, unpacked and asked of the real dynamic linker."""

import os
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.closure.binding import bound
from imagebuilder.closure.scripts import PACKAGES
from imagebuilder.closure.slimming import Around, Slimmed, slim
from imagebuilder.errors import ClosureError
from imagebuilder.recipe.values import Runtime
from imagebuilder.sources import Context
from imagebuilder.sources.debian import DebianSource, package_with
from imagebuilder.sources.layer import Layer
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Tree, file
from tests.sources.provided import provided

from .elves import LINKER, program

pytestmark = pytest.mark.network

PYTHON = "/usr/lib/python3.11"
# What a program that serves HTTP with the standard library does not need.
PYTHON_EXCLUDES = [
    f"{PYTHON}/{{ensurepip,idlelib,lib2to3,pydoc_data,test,tkinter,turtledemo,unittest}}/**",
    f"{PYTHON}/{{config-3.11-*,distutils,venv,__phello__}}/**",
    f"{PYTHON}/lib-dynload/{{_test*,_ctypes_test*,_xx*,xx*,nis.*,_dbm.*,_curses*,readline.*,ossaudiodev.*}}",
]
# command, packages, include, exclude, arguments of a call, what it must say
PROGRAMS = {
    "nginx": ("/usr/sbin/nginx", "nginx", [], [], ["-v"], ""),
    "redis": ("/usr/bin/redis-server", "redis-server", [], [], ["--version"], "Redis server v="),
    "python-minimal": ("/usr/bin/python3", "python3-minimal", [f"{PYTHON}/**"], [], ["-c", "print(1 + 1)"], "2"),
    "python": (
        "/usr/bin/python3.11",
        "python3.11",
        [f"{PYTHON}/**"],
        PYTHON_EXCLUDES,
        ["-c", "import http.server, ssl, sqlite3, json, ctypes, lzma, bz2, asyncio, decimal; print('served')"],
        "served",
    ),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A context whose store all these tests share."""
    folder = tmp_path_factory.mktemp("real")
    return Context(folder, Store(folder / "store"), lambda event: None)


def closure(context: Context, name: str) -> Slimmed:
    command, package, include, exclude, *_ = PROGRAMS[name]
    source = DebianSource(type="debian", release="bookworm", packages=(package,))
    off = [*Runtime]  # what is kept is what the linker loads, and no more
    return slim([provided(source, context)], roots=[command], include=include, exclude=exclude, off=off)


def lay_out(tree: Tree, root: Path) -> None:
    for path, node in tree.items():
        where = root / path[1:]
        if node.kind is Kind.DIRECTORY:
            where.mkdir(exist_ok=True)
        elif node.kind is Kind.SYMLINK:
            where.symlink_to(node.target)
        else:
            where.write_bytes(node.content.read())
            where.chmod(node.mode)


@pytest.mark.tools
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_closure_is_what_the_linker_loads_and_the_program_runs(name: str, context: Context, tmp_path: Path) -> None:
    command, _, _, _, arguments, said = PROGRAMS[name]
    result = closure(context, name)
    lay_out(bound(result.tree, {}), tmp_path)
    real = result.tree.resolve(command)
    linker = result.tree.resolve(LINKER)
    assert real and linker
    # Out of the folder, with nothing of this machine: the linker's own folders would be the machine's.
    asked = [f"{tmp_path}{linker}", "--inhibit-cache", "--library-path", f"{tmp_path}/usr/lib/x86_64-linux-gnu"]
    elves = [path for path in result.tree if path == real or "/lib-dynload/" in path]
    loaded = set[str]()
    for path in elves:
        for line in process.run([*asked, "--list", f"{tmp_path}{path}"]).text.splitlines():
            if "linux-vdso" in line or "statically linked" in line:
                continue
            where = line.split("=>")[-1].split()[0]
            assert where.startswith(str(tmp_path)), line
            loaded.add(str(Path(where).resolve()).removeprefix(str(tmp_path)))
    libraries = {path for path, node in result.tree.items() if ".so" in path and node.kind is Kind.FILE}
    assert {path for path in libraries if "/lib-dynload/" not in path} == {path for path in loaded if ".so" in path}
    if os.geteuid() == 0:
        assert said in process.run(["chroot", tmp_path, command, *arguments]).text


@pytest.mark.tools
def test_a_closure_is_a_small_part_of_what_was_unpacked(context: Context) -> None:
    result = closure(context, "nginx")
    kept = sum(group.bytes for group in result.groups if group.kept)
    assert kept == result.tree.size_bytes - sum(len(n.target) for n in result.tree.values() if n.kind is Kind.SYMLINK)
    assert kept * 3 < sum(group.bytes for group in result.groups)
    assert {group.name: group.why for group in result.groups}["nginx: program"] == "the command"


@pytest.mark.tools
def test_debians_packages_have_the_interpreters_that_the_hints_say(context: Context) -> None:
    """And its alternatives are found: awk is one, and a library that nearly all of mathematics needs."""
    source = DebianSource(type="debian", release="bookworm", packages=(*sorted({*PACKAGES.values()}), "liblapack3"))
    layer = provided(source, context)
    for name, package in PACKAGES.items():
        real = layer.tree.resolve(f"/usr/bin/{name}")
        assert real, name
        # Its package, or one that it depends on: python3-minimal brings python3.11-minimal.
        assert layer.origins[real].startswith(package.removesuffix("3-minimal")), name
    kept = slim([layer], roots=["/usr/bin/awk"], include=["/usr/lib/x86_64-linux-gnu/lapack/**"], exclude=[]).tree
    assert {"/usr/bin/awk", "/etc/alternatives/awk", "/usr/bin/mawk"} <= {*kept}
    assert kept.resolve("/usr/lib/x86_64-linux-gnu/libblas.so.3") == "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0"


@pytest.mark.tools
def test_a_missing_library_is_told_with_a_package_that_has_it(context: Context) -> None:
    """A program of the recipe's own, and a Debian source without what it needs: the hint is followed."""
    nodes = {"/srv/app": file(program("libcrypto.so.3", "libc.so.6"), mode=0o755)}
    own = Layer(Tree(nodes), dict.fromkeys(nodes, "files"))

    def slimmed(*packages: str) -> Tree:
        source = DebianSource(type="debian", release="bookworm", packages=packages)
        around = Around(package_with=lambda library: package_with(library, "bookworm", context))
        layers = [provided(source, context), own]
        return slim(layers, roots=["/srv/app"], include=[], exclude=[], around=around).tree

    with pytest.raises(ClosureError, match=r"libcrypto\.so\.3 is not in the image") as raised:
        slimmed("dash")
    package = (raised.value.hint or "").removeprefix("libcrypto.so.3 should be in ")
    assert slimmed("dash", package).resolve("/usr/lib/x86_64-linux-gnu/libcrypto.so.3")
