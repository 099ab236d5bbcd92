"""``recipe.lock``: what was chosen for a recipe, beside it, so that the same image is built everywhere and later on.

::

    schema = "imagebuilder.lock/1"

    [architecture.NAME.kernel]       the kernel, and the prebuilt image of it
    [architecture.NAME.init]         the sources of our init, and the prebuilt program
    [[architecture.NAME.source]]     for each source that chooses: its kind, what it asks for, the packages

It names no archive: a package is its name, version, size and hash, wherever it comes from. One value has one spelling:
keys in order, one package per line.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imagebuilder import documents
from imagebuilder.errors import InputError, OutputError
from imagebuilder.sources.kind import LOCKFILE, Choice, Package

SCHEMA: Literal["imagebuilder.lock/1"] = "imagebuilder.lock/1"
HEAD = "# What was chosen for this recipe: `imagebuilder lock` writes it. Keep it with the recipe.\n"
BARE = re.compile(r"[A-Za-z0-9_-]+")

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+_-]*$", max_length=256)]
# Of any kind of package: npm's may have a scope, and other signs (@scope/name), container images several folders.
PackageName = Annotated[
    str, Field(pattern=r"^(@[A-Za-z0-9._~-]+/|([a-z0-9._-]+/)+)?[A-Za-z0-9_][A-Za-z0-9.+_~-]*$", max_length=256)
]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:_!-]*$", max_length=256)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9\[][A-Za-z0-9.+~:=/@\[\]_-]*$", max_length=1024)]
Key = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,63}$")]


class Entry(BaseModel):
    """A table of a lockfile."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedPackage(Entry):
    """A package that was chosen; ``bytes`` is the size of its file."""

    bytes: int = Field(strict=True, ge=1, le=2**53)
    name: PackageName
    sha256: Digest
    version: Version


class LockedSource(Entry):
    """What a source of the recipe chose, of what it asks for."""

    type: Key
    asks: Mapping[Key, Word | tuple[Word, ...]] = {}
    packages: tuple[LockedPackage, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "LockedSource":
        # A release has one version of each; a project of npm may need several.
        counted = Counter((each.name, "" if "release" in self.asks else each.version) for each in self.packages)
        if twice := next((name for (name, _), count in counted.items() if count > 1), None):
            raise ValueError(f"{twice} is there twice")
        return self


class LockedKernel(Entry):
    """The kernel: ``key`` is the hash of all that it is made of, ``sha256`` that of the prebuilt image."""

    name: Name
    key: Digest
    sha256: Digest | None = None


class LockedInit(Entry):
    """Our init: ``key`` is the hash of its sources, ``sha256`` that of the prebuilt program."""

    key: Digest
    sha256: Digest | None = None


class Choices(Entry):
    """What was chosen for one architecture."""

    init: LockedInit
    kernel: LockedKernel
    source: tuple[LockedSource, ...] = ()

    @property
    def chosen(self) -> tuple[Choice, ...]:
        """What the sources chose, as these know it."""
        return tuple(
            Choice(each.type, dict(each.asks), tuple(Package(**package.model_dump()) for package in each.packages))
            for each in self.source
        )


class Lock(Entry):
    """The whole file."""

    schema_: Literal["imagebuilder.lock/1"] = Field(alias="schema", default=SCHEMA)
    architecture: Mapping[Key, Choices] = {}

    def with_choices(self, architecture: str, choices: Choices) -> "Lock":
        """The lock with these choices for an architecture; those for others stay."""
        return Lock(architecture={**self.architecture, architecture: choices})

    @property
    def text(self) -> str:
        """The document: the same for the same choices."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        return HEAD + "".join(_table((), {"schema": SCHEMA, **document}))


def locked(choices: Iterable[Choice]) -> tuple[LockedSource, ...]:
    """What sources chose, in an order of its own: that of the recipe does not count."""
    entries = (
        LockedSource(
            type=choice.type,
            asks={key: each if isinstance(each, str) else tuple(each) for key, each in choice.asks.items()},
            packages=tuple(LockedPackage(**each.describe()) for each in sorted(choice.packages, key=_order)),
        )
        for choice in choices
    )
    unique = {
        json.dumps([entry.type, entry.model_dump(mode="json")["asks"]], sort_keys=True): entry for entry in entries
    }
    return tuple(unique[key] for key in sorted(unique))


def read(folder: Path, *, hint: str) -> Lock | None:
    """The lock beside a recipe; nothing when there is none. Raises InputError, with the hint, for a damaged one."""
    path = folder / LOCKFILE
    try:
        _, document = documents.toml_of(documents.read(path, documents.MOST_TOML_BYTES))
        return Lock.model_validate(document)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except documents.Damaged as error:
        place = f"{path}:{error.line}" if error.line else f"{path}"
        raise InputError(f"{place}: {error}", hint=hint) from error
    except ValidationError as error:
        raise InputError(f"{path}: {documents.mistake_in(error)}", hint=hint) from error


def write(lock: Lock, folder: Path) -> None:
    """Put it beside the recipe, whole or not at all. Raises OutputError."""
    path = folder / LOCKFILE
    scratch = folder / f".{LOCKFILE}-{os.getpid()}"
    try:
        scratch.write_text(lock.text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is chosen otherwise: of what kind, its name, its version before and after (None: it is not
    there)."""

    what: str
    name: str
    before: str | None
    after: str | None

    @property
    def text(self) -> str:
        """In words."""
        subject = f"{self.what} {self.name}".rstrip()
        if self.before is None:
            return f"{subject} {self.after}: new".replace(" : new", ": new")
        if self.after is None:
            return f"{subject} {self.before}: gone"
        if self.before == self.after:
            return f"{subject} {self.before}: another build of it".replace("  ", " ").replace(" : ", ": ")
        return f"{subject} {self.before} → {self.after}"


def changes(before: Choices | None, after: Choices) -> list[Change]:
    """What is chosen otherwise: the kernel, init, and package by package."""
    found: list[Change] = []
    if before is None or before.kernel != after.kernel:
        found.append(Change("kernel", "", before.kernel.name if before else None, after.kernel.name))
    if before is None or before.init != after.init:
        found.append(Change("init", "", _short(before.init) if before else None, _short(after.init)))
    old, new = _packages(before.source if before else ()), _packages(after.source)
    for key in sorted({*old, *new}):
        one, other = old.get(key), new.get(key)
        if one != other:
            versions = (each.version if each else None for each in (one, other))
            found.append(Change("package", key[2], *versions))
    return found


def _short(init: LockedInit) -> str:
    return (init.sha256 or init.key)[:12]


def _packages(sources: Sequence[LockedSource]) -> dict[tuple[str, str, str], LockedPackage]:
    """The packages by kind of source, release and name: two releases may each have one of the same name. Of a name
    that one source has several times, as npm may, the version is part."""
    found: dict[tuple[str, str, str], LockedPackage] = {}
    for source in sources:
        count = Counter(package.name for package in source.packages)
        for package in source.packages:
            name = package.name if count[package.name] == 1 else f"{package.name} {package.version}"
            found[source.type, str(source.asks.get("release", "")), name] = package
    return found


def _order(package: Package) -> tuple[str, str]:
    return package.name, package.version


# TOML, of what a lock holds: texts, numbers, lists of them, tables.


def _table(place: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table: its own values first, then the tables in it."""
    tables = {key: value for key, value in table.items() if _is_table(value)}
    for key in sorted(table.keys() - tables.keys()):
        yield f"{_key(key)} = {_value(table[key])}\n"
    for key in sorted(tables):
        inner, here = tables[key], (*place, key)
        name = ".".join(map(_key, here))
        if isinstance(inner, Mapping):
            own = not inner or any(not _is_table(value) for value in inner.values())
            yield f"\n[{name}]\n" if own else ""
            yield from _table(here, inner)
        for each in inner if isinstance(inner, list) else ():
            yield f"\n[[{name}]]\n"
            yield from _table(here, each)


def _is_table(value: Any) -> bool:
    """Whether it gets a heading of its own: a table of one line, as of a package, does not."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, Mapping) and not _is_plain(each) for each in value)
    return isinstance(value, Mapping)


def _is_plain(table: Mapping[str, Any]) -> bool:
    return not any(isinstance(value, list | Mapping) for value in table.values())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(value[key])}" for key in sorted(value)) + " }"
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            return "[\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else json.dumps(key)
