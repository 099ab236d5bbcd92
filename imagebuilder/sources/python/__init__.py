"""A Python project with its locked wheels, for Debian's interpreter or one that another source brings.

Wheels are chosen for the image's Python, checked by their hashes, and unpacked as data: nothing of theirs is run, and
no pip. Debian's interpreter comes as a source of its own, which this one stands on.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field
from pydantic_core import InitErrorDetails

from imagebuilder.errors import SourceError
from imagebuilder.events import Warned, step
from imagebuilder.recipe import fields
from imagebuilder.recipe.base import mistake_at
from imagebuilder.sources import debian
from imagebuilder.sources.kind import Context, Defaults, Locked, Material, Package, SourceTable
from imagebuilder.store import key_of, sha256
from imagebuilder.words import counted

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer
    from imagebuilder.sources.python.locks import Pin
    from imagebuilder.sources.python.project import Project
    from imagebuilder.sources.python.target import Python
    from imagebuilder.tree import Node

# What wheels may expect of a system (PEP 600), and python3 itself does not need; what is not needed is not kept.
BESIDE = ("libstdc++6", "zlib1g")
VERSION = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$"
PLATFORM = r"^(manylinux|musllinux)_[0-9]{1,2}_[0-9]{1,2}$"


class PythonSource(SourceTable):
    """A Python project with the wheels that it is locked to, and Debian's interpreter."""

    type: Literal["python"]
    """The kind of source."""
    project: fields.FolderBeside | None = None
    """The project's folder beside the recipe, "." for the recipe's own."""
    lock: fields.FileBeside | None = None
    """Its pylock.toml (PEP 751)."""
    requirements: fields.FileBeside | None = None
    """Its requirements.txt with hashes, instead."""
    extras: tuple[fields.Text, ...] = ()
    """Extras of the lock that are taken too."""
    groups: tuple[fields.Text, ...] | None = None
    """Dependency groups of the lock that are taken; default: those that it says."""
    release: fields.Release | None = None
    """The Debian release whose Python it is; without one, another source brings a Python."""
    python: str | None = Field(default=None, pattern=VERSION, examples=["3.12"])
    """The version of the Python that another source brings."""
    platform: str = Field(default="manylinux_2_28", pattern=PLATFORM)
    """The newest platform of wheels that an image without ``release`` takes: "manylinux_2_28" is glibc 2.28 or later,
    "musllinux_1_2" musl 1.2."""
    interpreter: fields.ImagePath | None = None
    """Where the Python is that another source brings; default /usr/local/bin/python3.N."""
    target: fields.ImagePath = "/srv"
    """The folder in the image to which a project is copied that is no package."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """Something to install, one lock, one Python."""
        if raw.get("lock") is not None and raw.get("requirements") is not None:
            yield mistake_at(("requirements",), "there is a lock already", "leave one of both out")
        if all(raw.get(key) is None for key in ("project", "lock", "requirements")):
            yield mistake_at(("project",), "this key is missing", "or lock, or requirements")
        if (raw.get("release") is None) == (raw.get("python") is None):
            said = "expected exactly one of release (Debian's Python) and python (the version of another source's)"
            yield mistake_at(("release",), said)

    @property
    def byte_code(self) -> tuple[str, ...]:
        """What is compiled when the image is built: all modules that are kept."""
        return (f"/{{usr,usr/local,{self.target[1:]}}}/**/*.py",)


def implied(source: PythonSource) -> tuple[debian.DebianSource, ...]:
    """Debian's Python, where a release is named."""
    if source.release is None:
        return ()
    return (debian.DebianSource(type="debian", release=source.release, packages=("python3", *BESIDE)),)


def resolve(source: PythonSource, context: Context) -> Locked:
    """The wheels by hash and the project's files; needs the network the first time, and to choose again."""
    from imagebuilder.sources.python import locks, project

    python = _python(source, context)
    found = None
    name = source.lock or source.requirements
    if source.project is not None:
        found = project.read(context.folder, source.project, [name] if name else [])
    pins = _pins(source, python, context)
    if source.project is not None:
        table = project.pyproject(context.folder / source.project)
        project.check(table, pins, name or "source.lock", python)
    choice = None
    if name is not None:
        text = locks.read(context.folder / name)
        asks = {"lock": sha256(text.encode()), "platform": python.platform, "python": python.version}
        wanted = key_of([source.extras, source.groups]) if source.extras or source.groups is not None else "default"
        choice = context.choice(source.type, {**asks, "groups": wanted}, lambda: _chosen(pins, name, python, context))
        _check(choice.packages, pins, name, context)
    key = {
        "type": source.type,
        "python": [python.version, python.program, python.site, python.prefix],
        "wheels": [[each.name, each.version, each.sha256] for each in choice.packages] if choice else [],
        "project": _described(found, source.target),
    }
    defaults = Defaults({"directory": source.target} if found and not found.is_package else {})
    return Locked(source, key, choice, defaults, made=(python, found, pins))


def fetch(locked: Locked, context: Context) -> "Layer":
    """The wheels' files in the folder of packages, their programs, the project. Raises SourceError."""
    from imagebuilder.sources.layer import Layer, kept
    from imagebuilder.sources.python import obtain, wheel
    from imagebuilder.tree import Tree, file

    source: PythonSource = locked.source
    python: Python = locked.made[0]
    found: Project | None = locked.made[1]
    pins: Mapping[str, Pin] = {pin.name: pin for pin in locked.made[2]}
    packages: tuple[Package, ...] = locked.choice.packages if locked.choice else ()

    def keep(data: Any) -> Any:
        return kept(data, context.store)

    nodes: dict[str, Any] = {}
    origins: dict[str, str] = {}
    materials: dict[str, Material] = {}
    paths = obtain.wheels(packages, pins, source.lock or source.requirements or "", context)
    with step(context.say, f"wheels-{key_of(locked.key)[:8]}", f"unpack {counted(len(packages), 'wheel')}"):
        for package in packages:
            name = pins[package.name].filename or f"{package.name}-{package.version}.whl"
            with paths[package.name].open("rb") as stream:
                made = wheel.unpack(stream, name, package.name, package.version, python, keep)
            for path in sorted(path for path in made.keys() & nodes.keys() if made[path] != nodes[path]):
                said = f"{path} is in {origins[path]} and, with other content, in {package.name}"
                context.say(Warned(f"{said}: that of {package.name} is taken"))
            nodes |= made
            materials[package.name] = _material(package, made)
            origins |= dict.fromkeys(made, package.name)
    if found is not None:
        own = _placed(found, source.target, python, keep, file)
        if both := sorted(own.keys() & nodes.keys()):
            raise SourceError(f"{both[0]} is in the project and in {origins[both[0]]}: rename it in the project")
        nodes |= own
        origins |= dict.fromkeys(own, found.name or "project")
    return Layer(Tree(nodes), origins, packages, materials=materials)


def _material(package: Package, made: "Mapping[str, Node]") -> Material:
    """A wheel for the bill of materials."""
    from imagebuilder.sources.python import wheel

    purl = f"pkg:pypi/{package.name}@{quote(package.version, safe='')}"
    return Material(package.name, package.version, purl, wheel.licences(made), package.sha256)


def _placed(found: "Project", target: str, python: "Python", keep: Any, file: Any) -> dict[str, Any]:
    """The project's nodes in the image."""
    from imagebuilder.sources.python import wheel

    if not found.is_package:
        return {f"{target.rstrip('/')}/{path}": node for path, node in found.files.items()}
    info = f"{python.site}/{found.name.replace('-', '_')}-{found.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {found.name}\nVersion: {found.version}\n"
    points = "".join(f"{name} = {target}\n" for name, target in sorted(found.scripts.items()))
    texts = {"METADATA": metadata, "INSTALLER": f"{wheel.INSTALLER}\n"}
    texts |= {"entry_points.txt": f"[console_scripts]\n{points}"} if points else {}
    return {
        **{f"{python.site}/{path}": node for path, node in found.files.items()},
        **{f"{info}/{name}": file(keep(text.encode())) for name, text in texts.items()},
        **wheel.scripts_of(found.scripts, python, keep),
    }


def _python(source: PythonSource, context: Context) -> "Python":
    """The Python of the image: Debian's, by the packages of its release, or the one that is given."""
    from imagebuilder.sources.python import target

    for system in implied(source):
        choice = debian.resolve(system, context).choice
        return target.of_debian(choice.packages if choice else ())
    assert source.python is not None
    return target.brought(source.python, source.platform, source.interpreter)


def _pins(source: PythonSource, python: "Python", context: Context) -> "tuple[Pin, ...]":
    from imagebuilder.sources.python import locks

    if source.lock is not None:
        text = locks.read(context.folder / source.lock)
        return locks.of_pylock(text, source.lock, python, extras=source.extras, groups=source.groups, say=context.say)
    if source.requirements is not None:
        text = locks.read(context.folder / source.requirements)
        return locks.of_requirements(text, source.requirements, python, context.say)
    return ()


def _chosen(pins: "tuple[Pin, ...]", lock: str, python: "Python", context: Context) -> tuple[Package, ...]:
    from imagebuilder.sources.python import obtain

    return obtain.chosen(pins, lock, python, context)


def _check(packages: tuple[Package, ...], pins: "tuple[Pin, ...]", lock: str, context: Context) -> None:
    """Raises SourceError for wheels of recipe.lock that the project's lock does not have."""
    known = {pin.name: pin for pin in pins}
    for package in packages:
        pin = known.get(package.name)
        if pin is None or package.sha256 not in pin.hashes or package.version != pin.version:
            message = f"recipe.lock has a wheel of {package.name} that {lock} does not have"
            raise SourceError(message, hint=context.lock_hint("--update"))


def _described(found: "Project | None", target: str) -> Any:
    if found is None:
        return None
    files = {path: node.describe() for path, node in found.files.items()}
    return {"files": files, "scripts": {**found.scripts}, "name": [found.name, found.version], "target": target}
