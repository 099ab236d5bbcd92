"""Which versions of which packages a project is locked to: ``pylock.toml`` (PEP 751), or a ``requirements.txt`` with
hashes as ``pip install --require-hashes`` takes it."""

import logging
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import PackageDirectory, PackageSdist, PackageWheel, Pylock, PylockSelectError
from packaging.pylock import PylockValidationError as PylockWrong
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from imagebuilder import documents
from imagebuilder.errors import SourceError
from imagebuilder.events import Say, Warned, silent
from imagebuilder.recipe.local_files import relative
from imagebuilder.sources.python.target import Python
from imagebuilder.words import counted

MOST_BYTES = 16 << 20
MOST_PINS, MOST_VALUES = 10_000, 500_000
UNDEFINED = (UndefinedComparison, UndefinedEnvironmentName)  # of markers
SHA256 = re.compile(r"[0-9a-f]{64}")
KNOWN = Version("1.0")  # of pylock.toml
logging.getLogger("packaging.pylock").setLevel(logging.ERROR)  # it warns of newer ones on stderr; we do so in our way
ANEW = "lock it again, as with: uv export --format pylock.toml, or uv pip compile --generate-hashes"


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of a package; any wheel of it that has one of the hashes (SHA-256) will do. ``filename``, ``url`` and
    ``path`` (beside the lock) are of the one wheel that the lock names, where it does."""

    name: str
    version: str
    hashes: frozenset[str]
    filename: str | None = None
    url: str | None = None
    path: str | None = None


def read(path: Path) -> str:
    """The text of a lock. Raises SourceError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path.name} has more than {MOST_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path.name} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from error


def of_pylock(
    text: str,
    name: str,
    python: Python,
    *,
    extras: tuple[str, ...] = (),
    groups: tuple[str, ...] | None = None,
    say: Say = silent,
) -> tuple[Pin, ...]:
    """What a ``pylock.toml`` has for this Python. Raises SourceError for one that is damaged, is for another Python, or
    has something that is no wheel."""
    try:
        _, document = documents.toml_of(text.encode(), most_bytes=MOST_BYTES, most_values=MOST_VALUES)
        lock = Pylock.from_dict(document)
        chosen = lock.select(environment=python.environment, tags=python.tags, extras=extras, dependency_groups=groups)
        pins = tuple(pin for package, what in chosen for pin in _pinned(package.name, package.version, what, name))
    except documents.Damaged as error:
        place = f"{name}:{error.line}" if error.line else name
        raise SourceError(f"{place}: {error}") from error
    except PylockWrong as error:
        raise SourceError(f"{name} is no pylock.toml (PEP 751), or a damaged one: {_line(error)}") from error
    except PylockSelectError as error:
        raise SourceError(f"{name} has no wheels for {python.title}: {_line(error)}", hint=ANEW) from error
    except (*UNDEFINED, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # of values in it
        raise SourceError(f"{name} is no pylock.toml (PEP 751), or a damaged one: {_line(error)}") from error
    if lock.lock_version > KNOWN:
        say(Warned(f"{name} has the format {lock.lock_version}: of it is read what {KNOWN} has too"))
    return _once(pins, name)


def _pinned(name: str, version: Version | None, what: Any, lock: str) -> Iterator[Pin]:
    if isinstance(what, PackageDirectory) and what.path.rstrip("/") in (".", "./", ""):
        return  # the project itself
    if isinstance(what, PackageSdist):
        raise _no_wheel(lock, f"{name} {version or ''}".strip(), what.filename)
    if not isinstance(what, PackageWheel):
        raise SourceError(f"{lock} has {name} from a repository, a folder or an archive: build a wheel of it")
    digest = what.hashes.get("sha256", "")
    if not SHA256.fullmatch(digest):
        raise SourceError(f"{lock} has no sha256 of {what.filename}")
    if what.path:
        try:
            relative(what.path)
        except ValueError as error:
            raise SourceError(f"{lock} has {name} at {what.path}: {error}") from error
    number = str(version) if version else what.filename.split("-")[1]
    yield Pin(name, number, frozenset([digest]), what.filename, what.url, what.path)


def _no_wheel(lock: str, what: str, filename: str) -> SourceError:
    hint = "build a wheel of it (pip wheel), and lock that"
    return SourceError(f"{lock} has {what} as a source distribution only, {filename}, and no wheel", hint=hint)


def of_requirements(text: str, name: str, python: Python, say: Say) -> tuple[Pin, ...]:
    """What a ``requirements.txt`` has for this Python. Raises SourceError for a line without a hash or without one
    version, and for what is no package of an index. What a line says of where packages come from has no effect."""
    pins: list[Pin] = []
    for number, line in _lines(text):
        place = f"{name}:{number}"
        if line.startswith("-"):
            option = line.split("=")[0].split()[0]
            if option in ("-r", "--requirement", "-c", "--constraint", "-e", "--editable"):
                raise SourceError(f"{place}: {option} is not followed: write all requirements into this file")
            say(Warned(f"{place}: {option} has no effect: packages come from where pip is configured to"))
            continue
        pin = _requirement(line, place, python.markers)
        pins += [pin] if pin else []
    return _once(tuple(pins), name)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines without comments, joined where one ends with a backslash; each with the number of its first."""
    joined, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        bare = re.sub(r"(^|\s)#.*$", "", line.rstrip("\r"))
        if bare.endswith("\\"):
            joined += f"{bare[:-1]} "
            continue
        if whole := f"{joined}{bare}".strip():
            yield first, whole
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def _requirement(line: str, place: str, environment: Mapping[str, str]) -> Pin | None:
    words, _, options = line.partition(" --")
    try:
        given = shlex.split(f"--{options}") if options else []
        asked = Requirement(words.strip())
        applies = asked.marker is None or asked.marker.evaluate({**environment, "extra": ""})
    except (*UNDEFINED, InvalidRequirement, ValueError, RecursionError) as error:
        raise SourceError(f"{place}: expected name==version --hash=sha256:…: {_line(error)}") from error
    if not applies:
        return None
    specifiers = [*asked.specifier]
    if asked.url or len(specifiers) != 1 or specifiers[0].operator != "==" or "*" in specifiers[0].version:
        raise SourceError(f"{place}: {asked.name} is not locked to one version of an index: expected name==version")
    digests = frozenset(word.removeprefix("--hash=sha256:") for word in given if word.startswith("--hash=sha256:"))
    if not digests or not all(map(SHA256.fullmatch, digests)):
        raise SourceError(f"{place}: {asked.name} has no --hash=sha256:… of its wheels", hint=ANEW)
    return Pin(canonicalize_name(asked.name), specifiers[0].version, digests)


def _once(pins: tuple[Pin, ...], name: str) -> tuple[Pin, ...]:
    names = [pin.name for pin in pins]
    if len(pins) > MOST_PINS:
        raise SourceError(f"{name} has more than {counted(MOST_PINS, 'package')}")
    if twice := next((each for each, count in Counter(names).items() if count > 1), None):
        raise SourceError(f"{name} has {twice} twice for one Python")
    return tuple(sorted(pins, key=lambda pin: pin.name))


def filename_of(url: str) -> str:
    """The file's name in a URL."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    said = "".join(each if each.isprintable() else " " for each in str(error))
    return " ".join(said.split())[:300] or type(error).__name__
