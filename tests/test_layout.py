"""The house keeps its doors: who may import what, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "imagebuilder"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A library -> the only places that may import it.
DOORS = {
    "subprocess": ("process.py", "machine/"),
    "qemu": ("machine/",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "requests": ("kernel/", "sources/", "publish/"),
    "elftools": ("closure", "kernel/"),
    "re2": ("patterns.py",),
    "jinja2": ("recipe/", "measure/render/"),
    "pytest": ("cli/", "pytest_plugin/"),
}
# Room -> the rooms that it may know; a room that is not named here may not be known to any of these.
BELOW = {
    "errors": (),
    "events": (),
    "words": (),
    "patterns": (),
    "braces": (),
    "documents": (),
    "store": ("errors",),
    "cache": ("errors", "events", "store"),
    "process": ("errors", "paths"),
    "paths": ("errors",),
    "tree": ("errors", "store"),
    "recipe": ("errors", "events", "paths", "patterns", "store", "tree", "process", "kernel"),
    "closure": ("errors", "events", "process", "recipe", "store", "tree", "sources"),
    "sources": ("errors", "events", "paths", "process", "store", "cache", "tree", "recipe"),
    "upkeep": ("errors", "events"),
    "kernel": ("errors", "events", "paths", "process", "store", "tree", "sources", "upkeep"),
    "ready_built": ("process", "store", "upkeep"),
    "guest": ("errors", "events", "paths", "process", "ready_built", "recipe", "store", "tree"),
    "plan": ("store",),
    "translate": ("guest", "kernel", "recipe", "tree"),
    "pages": ("errors", "guest", "store", "tree"),
    "formats": ("errors", "events", "process", "store", "tree"),
    "bundle": ("errors", "store"),
    "machine": (
        "errors",
        "events",
        "paths",
        "patterns",
        "process",
        "ready_built",
        "store",
        "cache",
        "bundle",
        "recipe",
    ),
    "measure": ("errors", "events", "paths", "process", "store", "upkeep", "kernel", "bundle", "recipe", "machine"),
    "fleet": ("errors", "events", "paths", "store", "bundle", "recipe", "builder", "machine", "measure"),
    "pytest_plugin": (
        "errors",
        "events",
        "paths",
        "store",
        "formats",
        "bundle",
        "recipe",
        "builder",
        "machine",
        "measure",
    ),
}
EVERYWHERE = {"words", "braces", "documents"}  # known to every room, and knows none
LONGEST_FUNCTION_LINES = 80


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
            if node.module == "imagebuilder":
                yield from (f"imagebuilder.{alias.name}" for alias in node.names)


def relative(path: Path) -> str:
    """A module's path inside the package."""
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_each_library_comes_in_through_its_door(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path)} & set(DOORS)
    wrong = {name for name in found if not relative(path).startswith(DOORS[name])}
    assert not wrong, f"{relative(path)} imports {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_room_knows_only_the_rooms_before_it(path: Path) -> None:
    room = relative(path).split("/")[0].removesuffix(".py")
    if room not in BELOW:
        return
    known = {name.split(".")[1] for name in imports(path) if name.startswith("imagebuilder.")}
    others = known - {room, *BELOW[room], *EVERYWHERE}
    assert not others, f"{relative(path)} knows {others}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION_LINES, f"{relative(path)}:{node.lineno} {node.name} has {lines} lines"


def test_no_shell_strings() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{relative(path)}:{node.value.lineno} gives a command to a shell")
