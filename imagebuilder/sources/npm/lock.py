"""``package-lock.json`` of versions 2 and 3: what a project needs in production, and what of it is for us.

Format: https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json. What it says is foreign: every path in it is
checked, and only what is needed here is looked at.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.arch import TARGET
from imagebuilder.errors import SourceError
from imagebuilder.tree import is_below
from imagebuilder.words import counted

LOCK, PROJECT = "package-lock.json", "package.json"
VERSIONS = (2, 3)
MOST_BYTES, MOST_PACKAGES = 32 << 20, 20_000
NAME = r"(?:@[\w.~-]+/)?[\w.~-]+"
PLACE = re.compile(rf"(?:node_modules/{NAME}/)*node_modules/(?P<name>{NAME})", re.ASCII)
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,255}")
# What process.platform, process.arch and the C library are called where the image runs.
HERE: Mapping[str, str] = {"os": "linux", "cpu": TARGET.node, "libc": "glibc"}
ALGORITHMS: Mapping[str, int] = {"sha512": 64, "sha384": 48, "sha256": 32}  # the strongest first; bytes of a digest
DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies")
RENEW = "npm install --package-lock-only"


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _names(value: Any) -> Any:
    return {} if value is None or isinstance(value, list) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_list)]
Ranges = Annotated[Mapping[str, str], BeforeValidator(_names)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class LockEntry(_Read):
    """What the lock says of one place."""

    version: str = ""
    name: str | None = None
    resolved: str | None = None
    integrity: str = ""
    link: bool = False
    dev: bool = False
    optional: bool = False
    extraneous: bool = False
    in_bundle: bool = Field(False, alias="inBundle")
    has_script: bool = Field(False, alias="hasInstallScript")
    os: Words = ()
    cpu: Words = ()
    libc: Words = ()
    bin: Mapping[str, str] | str = {}
    license: Any = None
    dependencies: Ranges = {}
    workspaces: Any = None


class Described(_Read):
    """What ``package.json`` says."""

    name: str = ""
    version: str = ""
    main: str | None = None
    files: tuple[str, ...] = ()
    scripts: Mapping[str, str] = {}
    bin: Mapping[str, str] | str = {}
    dependencies: Ranges = {}
    dev: Ranges = Field({}, alias="devDependencies")
    optional: Ranges = Field({}, alias="optionalDependencies")
    workspaces: Any = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package that production needs: ``place`` is its folder in the project, ``algorithm`` and ``digest`` (in
    hexadecimal) are those of its tarball, ``bins`` its programs by name, ``licence`` an SPDX expression; a script of
    one that ``has_script`` would be run by npm."""

    place: str
    name: str
    version: str
    resolved: str | None
    algorithm: str
    digest: str
    bins: Mapping[str, str]
    has_script: bool
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What production needs, and the places that are left out because they are for other systems."""

    packages: tuple[Wanted, ...]
    elsewhere: tuple[str, ...]


def described(folder: Path) -> Described:
    """A project's ``package.json``. Raises SourceError."""
    path = folder / PROJECT
    try:
        found = Described.model_validate(documents.load_json(path))
    except FileNotFoundError:
        raise SourceError(f"{path} is not there: project must name the folder of a Node project") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except documents.Damaged as error:
        raise SourceError(f"{path}: {error}") from error
    except ValidationError as error:
        raise SourceError(f"{path}: {documents.mistake_in(error)}") from error
    if found.workspaces:
        raise SourceError(f"{path} has workspaces, which are not taken: name the folder of one of them, with its lock")
    return found


def load(folder: Path, project: Described) -> Chosen:
    """What the project's lock has for production. Raises SourceError, also where it does not fit the project."""
    path = folder / LOCK
    try:
        data = documents.read(path, MOST_BYTES)
    except FileNotFoundError:
        raise SourceError(f"{path} is not there: `{RENEW}` writes it") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except documents.Damaged as error:
        raise SourceError(f"{path}: {error}") from error
    return chosen(data, project, str(path))


def chosen(data: bytes, project: Described, name: str) -> Chosen:
    """What the text of a lock has for production; ``name`` is what errors call it. Raises SourceError."""
    entries = _entries(data, name)
    root = entries.pop("", LockEntry.model_validate({}))
    if root.workspaces:
        raise SourceError(f"{name} has workspaces, which are not taken")
    _check_fits(data, project, name)
    needed = {place: each for place, each in entries.items() if not (each.dev or each.extraneous)}
    for place, entry in needed.items():
        _check_kind(place, entry, name)
    elsewhere = {place for place, entry in needed.items() if entry.optional and _foreign(entry)}
    kept = {place: each for place, each in needed.items() if place not in elsewhere and not is_below(place, elsewhere)}
    for place, entry in kept.items():
        if foreign := _foreign(entry):
            raise SourceError(f"{name}: {place} is not for {HERE[foreign]}, which the image is ({foreign})")
    _check_whole(kept, needed, project, name)
    packages = tuple(_wanted(place, kept[place], name) for place in sorted(kept) if not kept[place].in_bundle)
    return Chosen(packages, tuple(sorted(elsewhere)))


def _entries(data: bytes, name: str) -> dict[str, LockEntry]:
    document = _document(data, name)
    version, packages = document.get("lockfileVersion"), document.get("packages")
    if version not in VERSIONS or not isinstance(packages, dict):
        said = f"lockfileVersion {version}" if isinstance(version, int) else "no lockfileVersion"
        raise SourceError(f"{name} has {said}, and 2 or 3 is taken: npm since version 7 writes it", hint=RENEW)
    if len(packages) > MOST_PACKAGES:
        raise SourceError(f"{name} has more than {counted(MOST_PACKAGES, 'package')}")
    try:
        return {place: LockEntry.model_validate(each) for place, each in packages.items()}
    except ValidationError as error:
        raise SourceError(f"{name}: {documents.mistake_in(error)}") from error


def _document(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        document = documents.json_of(data, most_bytes=MOST_BYTES)
    except documents.Damaged as error:
        raise SourceError(f"{name}: {error}") from error
    if not isinstance(document, dict):
        raise SourceError(f"{name} is no lock of npm")
    return document


def _check_fits(data: bytes, project: Described, name: str) -> None:
    """Whether the lock was made for what the project asks for now."""
    root = _document(data, name)["packages"].get("", {})
    for key, asked in zip(DEPENDENCIES, (project.dependencies, project.dev, project.optional), strict=True):
        locked = root.get(key) if isinstance(root, dict) else None
        locked = locked if isinstance(locked, dict) else {}
        for package in sorted({*locked, *asked}):
            if locked.get(package) != asked.get(package):
                there = f"{str(locked[package])[:60]!r}" if package in locked else "missing"
                here = f"{asked[package][:60]!r} in {PROJECT}" if package in asked else f"not in {PROJECT}"
                said = f"{name} does not fit its project: {package[:80]!r} is {there} there and {here}"
                raise SourceError(said, hint=RENEW)


def _check_kind(place: str, entry: LockEntry, name: str) -> None:
    """Raises SourceError for what is not taken."""
    resolved = entry.resolved or ""
    if entry.link or (place and not place.startswith("node_modules/")):
        raise SourceError(f"{name}: {place[:200]!r} is a link to a folder, which is not taken: publish it, or pack it")
    if not PLACE.fullmatch(place) or any(part in (".", "..") for part in place.split("/")):
        raise SourceError(f"{name}: {place[:200]!r} is no place of a package")
    if resolved and not resolved.startswith(("https://", "http://")):
        kind = "a git repository" if resolved.startswith("git") else "no registry"
        raise SourceError(f"{name}: {place} comes from {kind}, which is not taken: depend on a published version")


def _check_whole(kept: Mapping[str, LockEntry], known: Mapping[str, LockEntry], project: Described, name: str) -> None:
    """Whether all that is depended on is there, where Node looks for it."""
    optional = {*project.optional}
    roots = [("", package) for package in project.dependencies if package not in optional]
    wanted = [*roots, *((place, package) for place, each in kept.items() for package in each.dependencies)]
    for place, package in wanted:
        if not any(where in known for where in _places(place, package)):
            who = place.rpartition("node_modules/")[2] or "the project"
            raise SourceError(f"{name} lacks {package[:80]!r}, on which {who} depends", hint=RENEW)


def _places(place: str, package: str) -> Iterator[str]:
    """Where Node looks for a package that one at a place requires."""
    parts = place.split("node_modules/")
    for count in range(len(parts), 0, -1):
        yield f"{'node_modules/'.join(parts[:count]).rstrip('/')}/node_modules/{package}".lstrip("/")


def _foreign(entry: LockEntry) -> str | None:
    """What of the system the package is not for."""
    return next((what for what, here in HERE.items() if not _allows(getattr(entry, what), here)), None)


def _allows(words: Iterable[str], here: str) -> bool:
    """As ``os`` and ``cpu`` of package.json have it: names, and those that are excluded by ``!``."""
    names = [word for word in words if word != "any"]
    plain = [name for name in names if not name.startswith("!")]
    return f"!{here}" not in names and (not plain or here in plain)


def _wanted(place: str, entry: LockEntry, name: str) -> Wanted:
    match = PLACE.fullmatch(place)
    package = entry.name or (match["name"] if match else "")
    if not re.fullmatch(NAME, package, re.ASCII) or not VERSION.fullmatch(entry.version):
        raise SourceError(f"{name}: {place} has no name or version of a package")
    algorithm, digest = _digest(entry.integrity, place, name)
    licence = entry.license if isinstance(entry.license, str) and entry.license.isprintable() else ""
    bins = {package.rpartition("/")[2]: entry.bin} if isinstance(entry.bin, str) else entry.bin
    return Wanted(
        place, package, entry.version, entry.resolved, algorithm, digest, dict(bins), entry.has_script, licence
    )


def _digest(integrity: str, place: str, name: str) -> tuple[str, str]:
    """The strongest digest of an SRI text (https://www.w3.org/TR/SRI/)."""
    pairs = [word.partition("?")[0].partition("-") for word in integrity.split()]
    for algorithm, size in ALGORITHMS.items():
        for kind, _, text in pairs:
            if kind == algorithm:
                with_digest = _decoded(text)
                if len(with_digest) == size:
                    return algorithm, with_digest.hex()
                raise SourceError(f"{name}: {place} has an integrity that is no {algorithm}")
    said = f"only {pairs[0][0][:20]!r}" if pairs else "none"
    raise SourceError(f"{name}: {place} must have an integrity by sha512, and has {said}", hint=RENEW)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
