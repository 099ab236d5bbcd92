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
from imagebuilder.closure import globs
from imagebuilder.errors import ClosureError, MachineLacks
from imagebuilder.tree import Kind, Node, Tree, file

MODULE = re.compile(r".*/(?P<python>python3\.\d+)/(?:.*/)?(?P<name>[^/]+)\.py")
LINKER = "/lib64/ld-linux-x86-64.so.2"
LIBRARY = re.compile(r".*\.so(\.[0-9.]+)?")
SYSTEM = ("linux", "x86_64")
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
class Compiled:
    """The modules of one Python, and the programs that compile them; real paths in the image."""

    interpreter: str
    linker: str
    modules: Sequence[str]


def byte_code(tree: Tree, patterns: Sequence[str], scratch: Path) -> Tree:
    """The byte code of the modules that globs name, as files to be added to the tree.

    ``scratch`` is an empty folder. Raises ClosureError for a glob that names no module and for modules whose Python is
    not in the tree, MachineLacks where x86-64 Linux programs do not run, ToolFailed.
    """
    found: dict[str, list[str]] = {}
    for path in sorted({path for glob in patterns for path in _modules(glob, tree)}):
        match = MODULE.fullmatch(path)
        found.setdefault(match["python"] if match else "", []).append(path)
    if not found:
        return Tree()
    if (sys.platform, platform.machine()) != SYSTEM:
        raise MachineLacks("byte code is made by the image's own Python, which runs on x86-64 Linux only")
    _lay_out(tree, scratch)
    for python, modules in found.items():
        _compile(_of(python, modules, tree), tree, scratch)
    return Tree(dict(_written(scratch, found)))


def _modules(glob: str, tree: Tree) -> Iterator[str]:
    """The modules that a glob names; in a folder that belongs to a version of Python, as packages have them."""
    matcher = globs.matcher(glob)
    paths = [
        path
        for path, node in tree.items()
        if node.kind is Kind.FILE and MODULE.fullmatch(path) and matcher.fullmatch(path)
    ]
    if not paths:
        raise ClosureError(f'source.byte_code: "{glob}" names no Python module that is kept (in a folder python3.N)')
    yield from paths


def _of(python: str, modules: Sequence[str], tree: Tree) -> Compiled:
    interpreter, linker = tree.resolve(f"/usr/bin/{python}"), tree.resolve(LINKER)
    if interpreter is None or linker is None:
        raise ClosureError(f"{modules[0]} has no byte code without /usr/bin/{python}, which is not kept in the image")
    return Compiled(interpreter, linker, modules)


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


def _compile(wanted: Compiled, tree: Tree, scratch: Path) -> None:
    folders = sorted({path.rpartition("/")[0] for path in tree if LIBRARY.fullmatch(path) and "/python3" not in path})
    words = [
        *(f"{scratch}{wanted.linker}", "--inhibit-cache"),
        *("--library-path", ":".join(f"{scratch}{folder}" for folder in folders)),
        *(f"{scratch}{wanted.interpreter}", "-s", "-S", "-B", "-X", "utf8", "-c", SCRIPT, str(scratch)),
    ]
    # The same hashes each time: what the interpreter writes must not depend on the order of a set.
    environment = {"PYTHONHOME": f"{scratch}/usr", "PYTHONHASHSEED": "0"}
    process.run(words, cwd=scratch, env=environment, stdin="\0".join(wanted.modules).encode())


def _written(scratch: Path, found: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Node]]:
    for python, modules in found.items():
        tag = "cpython-" + python.removeprefix("python").replace(".", "")
        for path in modules:
            folder, name = os.path.split(path)
            where = f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
            if (scratch / where[1:]).is_file():
                yield where, file((scratch / where[1:]).read_bytes())
