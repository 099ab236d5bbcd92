"""Python's byte code, made by the image's own interpreter when the image is built.

A distribution makes it when a package is installed, by a script that we do not run: without it, Python compiles every
module that is imported at every start. Here the interpreter that the image holds compiles them, with its own libraries
and out of a scratch folder. It writes byte code that is used without a look at the source (PEP 552, "unchecked"): the
image's times are all the same, and its files do not change.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.closure.selection import other_glob, selected
from imagebuilder.errors import ClosureError, MachineLacks, ToolFailed, ToolTimedOut
from imagebuilder.tree import Kind, Node, Tree, file

VERSION = re.compile(r"/(python3\.\d+)/")
INTERPRETER = re.compile(r"(?P<prefix>.*)/bin/(?P<python>python3\.\d+)")
LIBRARY = re.compile(r".*\.so(\.[0-9.]+)?")
COMPILE_S = 1800.0  # measured: the whole standard library takes ten seconds
# What is no Python of this version, such as a template or a test's example, has no byte code; so it is elsewhere too.
SCRIPT = """
import os, sys
from importlib._bootstrap_external import _code_to_hash_pyc
from _imp import source_hash
from importlib.util import _RAW_MAGIC_NUMBER
root = sys.argv[1]
for path in sys.stdin.read().split("\\0"):
    folder, name = os.path.split(path)
    with open(root + path, "rb") as stream:
        source = stream.read()
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        continue
    where = root + folder + "/__pycache__"
    os.makedirs(where, exist_ok=True)
    with open(f"{where}/{name[:-3]}.{sys.implementation.cache_tag}.pyc", "wb") as stream:
        stream.write(_code_to_hash_pyc(code, source_hash(_RAW_MAGIC_NUMBER, source), False))
"""


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter of the image: its name (``python3.11``), the folder that it is installed in, its real path."""

    name: str
    prefix: str
    program: str


def byte_code(tree: Tree, patterns: Sequence[str], scratch: Path) -> Tree:
    """The byte code of the modules that globs name, as files to be added to the tree.

    A module in the folder of a version (``/usr/lib/python3.11/…``) is compiled by that one, any other by each version
    that the image has. ``scratch`` is an empty folder. Raises ClosureError for a glob that names no module, for modules
    whose Python is not in the tree or cannot run there, and MachineLacks where the image's programs do not run.
    """
    modules = sorted({path for glob in patterns for path in _modules(glob, tree)})
    if not modules:
        return Tree()
    if (sys.platform, platform.machine()) != ("linux", TARGET.name):
        raise MachineLacks(f"byte code is made by the image's own Python, which runs on {TARGET.title} Linux only")
    pythons = list(_pythons(tree))
    wanted: dict[Python, list[str]] = {}
    for module in modules:
        for python in _compilers(module, pythons):
            wanted.setdefault(python, []).append(module)
    _lay_out(tree, scratch)
    for python, paths in wanted.items():
        _compile(python, paths, tree, scratch)
    return Tree(dict(_written(scratch, wanted)))


def _modules(glob: str, tree: Tree) -> list[str]:
    """The modules that a glob names; a folder stands for all in it."""
    paths = [path for path in selected(glob, tree) if path.endswith(".py") and tree[path].kind is Kind.FILE]
    if not paths:
        message = f'byte_code: "{glob}" names no Python module (*.py) that is kept in the image'
        near = other_glob(glob, tree.filter(lambda path, _: path.endswith(".py")))
        raise ClosureError(message, hint=near or "modules are kept that include names too")
    return paths


def _pythons(tree: Tree) -> Iterator[Python]:
    for path in tree:
        match, real = INTERPRETER.fullmatch(path), tree.resolve(path)
        if match and real is not None and tree[real].kind is Kind.FILE:
            yield Python(match["python"], match["prefix"], real)


def _compilers(module: str, pythons: Sequence[Python]) -> list[Python]:
    """Who compiles a module: of its version the interpreter that is installed in the same place, or any; of a module
    that belongs to no version, one of each."""
    version = VERSION.search(module)
    of_version = {python.name: python for python in reversed(pythons) if version is None or python.name == version[1]}
    beside = {python.name: python for python in pythons if module.startswith(f"{python.prefix}/")}
    found = [beside.get(name, python) for name, python in sorted(of_version.items())]
    if not found:
        name = version[1] if version else "python3.N"
        raise ClosureError(f"{module} has no byte code without {name} in a folder bin, which is not kept in the image")
    return found


def _lay_out(tree: Tree, scratch: Path) -> None:
    """The files, and what links lead to in their place: none leads out of the folder."""
    for path, node in tree.items():
        real = path if node.kind is not Kind.SYMLINK else tree.resolve(path)
        if real is None or tree[real].kind is not Kind.FILE:
            continue
        where = scratch / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(tree[real].content.read())
        where.chmod(0o755)


def _compile(python: Python, modules: Sequence[str], tree: Tree, scratch: Path) -> None:
    linker = tree.resolve(TARGET.linker)
    if linker is None:
        raise ClosureError(f"{modules[0]} has no byte code without {TARGET.linker}, which is not kept in the image")
    folders = sorted({path.rpartition("/")[0] for path in tree if LIBRARY.fullmatch(path) and "/python3" not in path})
    words = [
        *(f"{scratch}{linker}", "--inhibit-cache"),
        *("--library-path", ":".join(f"{scratch}{folder}" for folder in folders)),
        *(f"{scratch}{python.program}", "-s", "-S", "-B", "-X", "utf8", "-c", SCRIPT, str(scratch)),
    ]
    # The same hashes each time: what the interpreter writes must not depend on the order of a set.
    environment = {"PYTHONHOME": f"{scratch}{python.prefix}", "PYTHONHASHSEED": "0"}
    try:
        process.run(words, cwd=scratch, env=environment, stdin="\0".join(modules).encode(), timeout_s=COMPILE_S)
    except ToolTimedOut as error:
        raise ClosureError(f"byte_code: the image's {python.name} {error.how}") from error
    except ToolFailed as error:
        said = error.stderr.strip().splitlines() or [error.message]
        cause = next((line for line in reversed(said) if "Error" in line), said[-1])
        message = f"byte_code: the image's {python.name} cannot run: {cause.replace(str(scratch), '')}"
        library = f"{python.prefix}/lib/{python.name}"
        hint = f'include = ["{library}/**"] keeps its standard library' if _lacks(library, tree) else None
        raise ClosureError(message, hint=hint) from error


def _lacks(library: str, tree: Tree) -> bool:
    """Whether what every Python imports at its start is missing."""
    return f"{library}/encodings/__init__.py" not in tree


def _written(scratch: Path, compiled: Mapping[Python, Sequence[str]]) -> Iterator[tuple[str, Node]]:
    for python, modules in compiled.items():
        tag = "cpython-" + python.name.removeprefix("python").replace(".", "")
        for path in modules:
            folder, name = os.path.split(path)
            where = f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
            if (scratch / where[1:]).is_file():
                yield where, file((scratch / where[1:]).read_bytes())
