"""A Python project beside the recipe, as data: no build backend is run.

One that is a package (``pyproject.toml`` with ``[build-system]``) has its modules placed where packages are, with its
scripts; any other is an application, of which the folder is copied as it is.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from imagebuilder import documents
from imagebuilder.errors import SourceError
from imagebuilder.sources.files import collect
from imagebuilder.sources.kind import LOCKFILE
from imagebuilder.sources.python.locks import ANEW, UNDEFINED, Pin
from imagebuilder.sources.python.target import Python
from imagebuilder.sources.python.wheel import checked
from imagebuilder.tree import Node

PYPROJECT = "pyproject.toml"
LEFT_OUT = re.compile(r"(^|/)(\.[^/]*|__pycache__|node_modules|[^/]*\.egg-info)(/|$)|\.py[co]$")
OURS = ("recipe.toml", LOCKFILE)


@dataclass(frozen=True)
class Project:
    """What a project comes to: ``files`` by their path below ``where``, which is the folder of packages or, for an
    application, none; ``scripts`` by name; its name and version where it is a package."""

    files: Mapping[str, Node]
    scripts: Mapping[str, str]
    name: str = ""
    version: str = ""

    @property
    def is_package(self) -> bool:
        """Whether it is placed where packages are."""
        return bool(self.name)


def read(folder: Path, project: str, locks: Sequence[str]) -> Project:
    """The project in a folder beside the recipe; the ``locks`` are none of its files. Raises SourceError."""
    inner = PurePosixPath(project).as_posix()
    place = folder / inner
    if not place.is_dir():
        raise SourceError(f'source.project: there is no folder "{project}" beside the recipe')
    pattern = "**" if inner == "." else f"{inner}/**"
    prefix = "" if inner == "." else f"{inner}/"
    found = {path.removeprefix(prefix): node for path, node in collect(folder, [pattern], key="source.project").items()}
    environments = [path.rpartition("/")[0] for path in found if path.endswith("/pyvenv.cfg")]
    named = {*OURS, *(lock.removeprefix(prefix) for lock in locks)}
    files = {path: node for path, node in found.items() if not _left_out(path, environments) and path not in named}
    table = pyproject(place)
    if "build-system" not in table:
        if not files:
            raise SourceError(f'source.project: the folder "{project}" holds no files for the image')
        return Project(files, {})
    return _package(table, files, project)


def pyproject(place: Path) -> Mapping[str, Any]:
    """What the project says of itself; nothing where it says nothing. Raises SourceError."""
    try:
        return documents.toml_of(documents.read(place / PYPROJECT, documents.MOST_TOML_BYTES))[1]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(f"{PYPROJECT} cannot be read: {error.strerror}") from error
    except documents.Damaged as error:
        raise SourceError(f"{PYPROJECT}{f':{error.line}' if error.line else ''}: {error}") from error


def check(table: Mapping[str, Any], pins: Iterable[Pin], lock: str, python: Python) -> None:
    """Raise SourceError for a project that needs another Python, or a package that its lock has not, or not so."""
    project = _table(table, "project")
    locked = {pin.name: pin.version for pin in pins}
    try:
        asked = SpecifierSet(str(project.get("requires-python", "")))
        if not asked.contains(python.version):
            raise SourceError(f"{PYPROJECT} asks for Python {asked}, and the image has {python.version}")
        for text in _list(project, "dependencies"):
            needed = Requirement(str(text))
            if needed.marker and not needed.marker.evaluate({**python.markers, "extra": ""}):
                continue
            version = locked.get(canonicalize_name(needed.name))
            if version is None:
                raise SourceError(f"{lock} does not fit {PYPROJECT}: it lacks {needed.name}", hint=ANEW)
            if not needed.specifier.contains(version, prereleases=True):
                wanted = f"{needed.name}{needed.specifier}"
                raise SourceError(f"{lock} does not fit {PYPROJECT}: it has {version} of {wanted}", hint=ANEW)
    except (*UNDEFINED, InvalidRequirement, InvalidSpecifier) as error:
        raise SourceError(f"{PYPROJECT}: {' '.join(str(error).split())[:200]}") from error


def _package(table: Mapping[str, Any], files: Mapping[str, Node], place: str) -> Project:
    project = _table(table, "project")
    name = str(project.get("name", ""))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise SourceError(f"{PYPROJECT} has a [build-system] and no name under [project]")
    scripts = {**_table(project, "scripts"), **_table(project, "gui-scripts")}
    version = str(project.get("version", "0"))
    found = _modules(table, files, name)
    if not found:
        module = canonicalize_name(name).replace("-", "_")
        said = f"neither src/, {module}/ nor {module}.py is there, nor what its build backend is configured to take"
        raise SourceError(f'source.project: no modules of {name} are found in "{place}": {said}')
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+!-]*", version):
        raise SourceError(f"{PYPROJECT} has the version {version[:40]!r}, which is none")
    return Project(found, checked(scripts, PYPROJECT), canonicalize_name(name), version)


def _modules(table: Mapping[str, Any], files: Mapping[str, Node], name: str) -> dict[str, Node]:
    """The modules by their path below the folder of packages: those that setuptools or hatch are set to take, else all
    in ``src``, else those of the project's own name."""
    tool = _table(table, "tool")
    setuptools = _table(tool, "setuptools")
    hatch = _table(_table(_table(_table(tool, "hatch"), "build"), "targets"), "wheel")
    told = [str(each).partition(".")[0] for each in _list(setuptools, "packages")]
    told += [f"{each}.py" for each in _list(setuptools, "py-modules")]
    told += [PurePosixPath(str(each)).as_posix() for each in _list(hatch, "packages")]
    if not told and any(path.startswith("src/") for path in files):
        return {path.removeprefix("src/"): node for path, node in files.items() if path.startswith("src/")}
    module = canonicalize_name(name).replace("-", "_")
    found: dict[str, Node] = {}
    for each in told or (module, f"{module}.py"):
        for root in (each, f"src/{each}"):
            above = root.rpartition("/")[0]
            inside = {path: node for path, node in files.items() if path == root or path.startswith(f"{root}/")}
            found |= {path.removeprefix(f"{above}/") if above else path: node for path, node in inside.items()}
    return found


def _left_out(path: str, environments: Sequence[str]) -> bool:
    return LEFT_OUT.search(path) is not None or any(path.startswith(f"{folder}/") for folder in environments)


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise SourceError(f"{PYPROJECT}: {key} is no table")
    return value


def _list(table: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = table.get(key, [])
    return value if isinstance(value, list) else []
