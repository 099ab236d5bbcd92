"""What a kind of source is: its table in a recipe, what it chooses, what it gives. A row of ``SOURCES`` each."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.errors import InputError
from imagebuilder.events import Say
from imagebuilder.preparation import Preparer
from imagebuilder.recipe.base import RecipeTable
from imagebuilder.store import Store, key_of
from imagebuilder.words import shortened

LOCKFILE = "recipe.lock"
Asks = Mapping[str, str | Sequence[str]]
"""What a source asks for, in the words of its table: what was chosen for other words does not count."""

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer
    from imagebuilder.tree import Node


class SourceTable(RecipeTable):
    """``[source]`` in a recipe, of whichever kind: each kind has its own keys besides."""

    type: str
    """The kind of source."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a distribution that is in the image; ``bytes`` is the size of its file."""

    name: str
    version: str
    sha256: str
    bytes: int

    @property
    def identity(self) -> str:
        """Its name with its version, where a source may have several of one name."""
        return f"{self.name}@{self.version}"

    def describe(self) -> dict[str, Any]:
        """The package as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Material:
    """What files of a layer are of, for the bill of materials: ``purl`` is its package URL
    (https://github.com/package-url/purl-spec), ``licences`` the SPDX expressions that it declares, ``sha256`` the
    digest of the file that it came in; empty where there is none."""

    name: str
    version: str = ""
    purl: str = ""
    licences: tuple[str, ...] = ()
    sha256: str = ""

    def describe(self) -> dict[str, Any]:
        """The material as JSON."""
        return asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> "Material":
        """The material that ``describe`` returned."""
        return cls(**{**document, "licences": tuple(document["licences"])})


@dataclass(frozen=True, slots=True)
class Choice:
    """What a source of a kind chose, of what it asks for."""

    type: str
    asks: Asks
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Context:
    """Where the recipe is, where results are kept, who listens; ``refresh`` asks again what may have changed outside,
    else ``lock`` says what was chosen, and with ``frozen`` nothing else may be. ``remember``: what is chosen now counts
    where there is no lock. ``name`` is what one types for the recipe, ``preparer`` starts
    machines that prepare."""

    folder: Path
    store: Store
    say: Say
    refresh: bool = False
    name: str = "NAME"
    lock: Sequence[Choice] = ()
    frozen: bool = False
    remember: bool = True
    preparer: Preparer | None = field(default=None, compare=False, repr=False)
    # What was asked again already, so that one build does so once.
    asked: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def choice(self, kind: str, asks: Asks, choose: Callable[[], tuple[Package, ...]]) -> Choice:
        """What the lock has for this, else what is chosen now. Raises InputError when only the lock counts."""
        key = key_of([kind, asks])
        if key not in self.asked:
            known = (each for each in self.lock if key_of([each.type, each.asks]) == key)
            found = None if self.refresh else next(known, None)
            if found is None and self.frozen:
                words = " ".join(each if isinstance(each, str) else " ".join(each) for each in asks.values())
                message = f"{LOCKFILE} does not fit the recipe: it lacks what a source of the kind {kind} asks for"
                raise InputError(f"{message} ({shortened(words)})", hint=self.lock_hint())
            self.asked[key] = found or Choice(kind, asks, choose())
        choice: Choice = self.asked[key]
        return choice

    @property
    def is_writable(self) -> bool:
        """Whether a lockfile can be written beside the recipe."""
        return os.access(self.folder, os.W_OK)

    def lock_hint(self, option: str = "") -> str:
        """The command that writes the lockfile; for a folder that cannot be written, as that of an installed package,
        of a copy in ``recipes``, which is found before it."""
        command = f"imagebuilder lock {{}} {option}".rstrip()
        if self.is_writable:
            return command.format(shlex.quote(self.name))
        copy = shlex.quote(f"recipes/{self.folder.name}")
        copied = f"mkdir -p recipes && cp -r {shlex.quote(str(self.folder))} recipes && chmod -R u+w {copy}"
        return f"{copied} && {command.format(copy)}"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a source says of its application, in the words of a recipe: keys of ``[application]``, and ports."""

    application: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Locked:
    """What a source comes to: ``key`` is all that its layer depends on (JSON, contents by hash), ``choice`` what the
    lockfile keeps of it, ``defaults`` what it knows of the application, ``made`` what ``fetch`` is
    to have besides, and which follows from the key."""

    source: Any
    key: Any
    choice: Choice | None = None
    defaults: Defaults = Defaults()
    made: Any = None


@dataclass(frozen=True, slots=True)
class SourcePrepare:
    """What a source has done in a machine that prepares, as ``[[prepare]]`` does: ``command`` with ``environment``,
    over all files of the recipe, and those that this machine alone has: of the sources ``tools``, and ``files``. Kept
    is what stands at and below the paths ``made``; it is of that ``package`` of the tools. ``hint`` is for when it
    fails."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    tools: tuple[SourceTable, ...]
    files: Mapping[str, "Node"]
    made: tuple[str, ...]
    package: str
    memory_mib: int
    timeout_s: int
    hint: str


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A row of ``SOURCES``: the table of this kind; what it comes to (fast, and the network only where something must
    be chosen); its files. ``tells_application``: it may know the command, so that a recipe need not say it,
    ``tells_ports``: and at which port its application is asked;
    ``implied``: the sources that it stands on, such as those of an interpreter, which come before it; ``prepare``:
    what it has done in a machine, for an application of which readiness asks that URL (where it asks one)."""

    model: type[SourceTable]
    resolve: Callable[[Any, Context], Locked]
    fetch: Callable[[Locked, Context], "Layer"]
    tells_application: bool = False
    tells_ports: bool = False
    implied: Callable[[Any], tuple[SourceTable, ...]] | None = None
    prepare: Callable[[Locked, Context, str], SourcePrepare] | None = None
