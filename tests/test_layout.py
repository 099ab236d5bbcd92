"""The house keeps its doors: who may import what, read from the code itself."""

import ast
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    "requests": ("kernel/", "sources/", "oci/", "publish/"),
    "urllib3": ("oci/", "sources/download.py", "sources/python/index.py"),
    "elftools": ("closure", "kernel/"),
    "re2": ("patterns.py",),
    "cyclonedx": ("sbom/",),
    "spdx_tools": ("sbom/",),
    "securesystemslib": ("attestation/",),
    "cryptography": ("attestation/",),
    "packageurl": ("sbom/",),
    "tomllib": ("documents.py",),
    "jinja2": ("recipe/", "measure/render/"),
    "pytest": ("cli/", "pytest_plugin/"),
}
# Room -> the rooms that it may know.
BELOW = {
    "arch": (),
    "errors": (),
    "events": (),
    "words": (),
    "patterns": (),
    "braces": (),
    "private": ("errors",),
    "documents": (),
    "xz": (),
    "store": ("errors",),
    "cache": ("errors", "events", "store"),
    "process": ("errors", "paths", "pipes"),
    "pipes": (),
    "supervisor": (),
    "paths": ("errors",),
    "tree": ("errors", "store"),
    "tarball": ("errors", "tree"),
    "recipe/fields": ("errors", "paths", "patterns", "tree"),
    "recipe": ("errors", "events", "paths", "patterns", "store", "tree", "process", "oci", "sources", "transforms"),
    "closure": ("errors", "events", "process", "recipe/fields", "store", "tree", "sources"),
    "transforms": ("errors", "recipe/fields", "tree", "tarball", "sources", "closure"),
    "oci": ("errors", "events", "paths", "process", "store", "tree", "tarball", "recipe/fields"),
    "sources": (
        "errors",
        "events",
        "paths",
        "process",
        "store",
        "cache",
        "tree",
        "tarball",
        "recipe/fields",
        "oci",
        "preparation",
    ),
    "preparation": ("errors", "events"),
    "lockfile": ("errors", "sources", "store"),
    "maintainer_cli": ("errors", "events"),
    "kernel": ("errors", "events", "paths", "process", "store", "tree", "sources", "maintainer_cli", "prebuilt"),
    "prebuilt": ("process", "store", "maintainer_cli"),
    "platforms": ("errors", "events", "paths", "process", "prebuilt", "recipe", "kernel", "store", "tree"),
    "pages": ("errors", "platforms", "store", "tree"),
    "keep": ("errors",),
    "filesystems": ("errors", "events", "process", "store", "tree"),
    "bundle": ("errors", "store", "recipe"),
    "attestation": ("errors", "bundle", "store", "sbom", "measure"),
    "sbom": ("errors", "store", "tree", "sources"),
    "images": ("errors", "process", "prebuilt", "store", "tree", "filesystems", "bundle"),
    "lacking": ("errors", "closure", "store", "tree"),
    "machine": (
        "errors",
        "events",
        "lacking",
        "paths",
        "patterns",
        "process",
        "prebuilt",
        "preparation",
        "store",
        "cache",
        "bundle",
        "images",
        "recipe",
    ),
    "build": (
        "lockfile",
        "lacking",
        "errors",
        "events",
        "paths",
        "process",
        "store",
        "cache",
        "tree",
        "recipe",
        "closure",
        "sources",
        "transforms",
        "kernel",
        "platforms",
        "pages",
        "keep",
        "filesystems",
        "bundle",
        "images",
        "sbom",
        "preparation",
        "tarball",
        "machine",  # walk.py alone, when a step asks for a machine that prepares: machines know no step
    ),
    "doctor": ("errors", "paths", "process", "machine"),
    "measure": (
        "errors",
        "events",
        "paths",
        "process",
        "store",
        "maintainer_cli",
        "kernel",
        "pages",
        "keep",
        "tree",
        "platforms",
        "bundle",
        "images",
        "recipe",
        "build",
        "machine",
        "sbom",
    ),
    "fleet": ("errors", "events", "paths", "store", "bundle", "recipe", "build", "machine", "measure"),
    "pytest_plugin": (
        "errors",
        "events",
        "paths",
        "store",
        "filesystems",
        "bundle",
        "images",
        "recipe",
        "build",
        "machine",
        "measure",
    ),
}
# What the tables of a recipe are made of. Each kind of source has such a table, and the recipe is made of those in
# turn: these modules are a room below that of sources, and the rest of their folder is one above it.
FIELDS = {
    f"recipe.{name}"
    for name in ("base", "cross_checks", "docstrings", "fields", "local_files", "suggestions", "values")
}
EVERYWHERE = {"arch", "words", "braces", "documents", "private", "xz"}  # known to every room, and know errors at most
TOP = {"cli", "__main__", "__init__"}  # know every room, and no room knows them
LONGEST_FUNCTION_LINES = 80


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full name."""
    return imported(ast.parse(path.read_text()), path)


def imported(tree: ast.Module, path: Path) -> Iterator[str]:
    """Every module that the code of a file imports, by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ("imagebuilder", *path.relative_to(PACKAGE).parent.parts)[: -node.level + 1 or None]
            name = ".".join([*(above if node.level else ()), *([node.module] if node.module else ())])
            modules = [f"{name}.{alias.name}" for alias in node.names if is_module(f"{name}.{alias.name}")]
            if len(modules) < len(node.names) or name == "imagebuilder":
                yield name
            yield from modules


def is_module(name: str) -> bool:
    """Whether a name is that of a module of ours, and not of something in one."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    return name.startswith("imagebuilder.") and (place.is_dir() or place.with_name(f"{place.name}.py").is_file())


def room_of(module: str) -> str:
    """The room of a module, by its name inside the package."""
    return "recipe/fields" if ".".join(module.split(".")[:2]) in FIELDS else module.split(".")[0]


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
    room = room_of(relative(path).removesuffix(".py").replace("/", "."))
    if room in TOP | EVERYWHERE - set(BELOW):
        return
    assert room in BELOW, f"{room} is a new room: say in BELOW which rooms it may know"
    known = {room_of(name.removeprefix("imagebuilder.")) for name in imports(path) if name.startswith("imagebuilder.")}
    below = {room, *BELOW[room], *EVERYWHERE}
    others = known - below - ({"recipe/fields"} if "recipe" in below else set())
    assert not others, f"{relative(path)} knows {others}"


def test_a_platform_is_known_by_its_row_alone() -> None:
    preparing = {
        "build/planner.py",
        "build/steps/prepare.py",
        "measure/tracing.py",
    }  # commands of an image's sources are programs of Linux
    others = [
        path for path in MODULES if not relative(path).startswith("platforms/") and relative(path) not in preparing
    ]
    known = [(relative(path), name) for path in others for name in imports(path)]
    assert [each for each in known if each[1].startswith("imagebuilder.platforms.linux")] == []


def test_rooms_do_not_know_each_other_in_turn() -> None:
    TopologicalSorter(BELOW).prepare()


def test_no_room_knows_the_top() -> None:
    top = tuple(f"imagebuilder.{name}" for name in sorted(TOP - {"__init__"}))
    below = [path for path in MODULES if relative(path).split("/")[0].removesuffix(".py") not in TOP]
    assert len(below) > len(MODULES) / 2
    assert [(relative(path), name) for path in below for name in imports(path) if name.startswith(top)] == []


@pytest.mark.parametrize(
    ("place", "line", "names"),
    [
        ("machine/qmp.py", "from ..cli import main", ["imagebuilder.cli.main"]),
        ("machine/qmp.py", "from .. import cli", ["imagebuilder", "imagebuilder.cli"]),
        ("machine/forkserver/files.py", "from ... import cli", ["imagebuilder", "imagebuilder.cli"]),
        ("machine/__init__.py", "from .qmp import x", ["imagebuilder.machine.qmp"]),
        ("sources/files.py", "from imagebuilder.recipe import fields", ["imagebuilder.recipe.fields"]),
        ("tree.py", "from . import cli", ["imagebuilder", "imagebuilder.cli"]),
        ("tree.py", "from imagebuilder import cli", ["imagebuilder", "imagebuilder.cli"]),
        ("tree.py", "import imagebuilder.cli", ["imagebuilder.cli"]),
    ],
)
def test_every_way_to_import_is_seen(place: str, line: str, names: list[str]) -> None:
    assert list(imported(ast.parse(line), PACKAGE / place)) == names


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


def test_what_is_mutated_and_by_which_tests_is_there() -> None:
    root = PACKAGE.parent
    told = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mutmut"]
    places = (*told["only_mutate"], *told["pytest_add_cli_args_test_selection"])
    assert [place for place in places if not [*root.glob(place)]] == []
