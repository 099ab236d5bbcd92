"""Engines: ways to a clone that are quicker than a new QEMU from the template, and which of them are there.

An engine is a module with a row, ``ENGINE``. One whose module is not installed is passed over: then every clone is a
new QEMU, which works everywhere.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from imagebuilder.errors import MachineError
from imagebuilder.events import Note
from imagebuilder.machine.clone import Identity
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Forward
from imagebuilder.machine.template import Template

MODULES = ("imagebuilder.machine.forkserver",)
NONE = "nothing that copies a running QEMU is installed"


class NotCopied(MachineError):
    """Clones of this template cannot be copies on this machine; they can be started all the same."""


class Original(Protocol):
    """What is there before the first clone, and of which each is a copy."""

    @property
    def instance(self) -> Instance:
        """The machine that is copied; clones can be made as long as it lasts."""

    def clone(
        self,
        identity: Identity | None = None,
        *,
        forwards: tuple[Forward, ...] = (),
        on_console: Callable[[bytes], None] | None = None,
    ) -> AbstractAsyncContextManager[Instance]:
        """As ``machine.clone.clone``. Raises MachineError when the original has ended or cannot be copied."""


class Prepare(Protocol):
    """What makes an original of a template; what it copied lives on when the block is left."""

    def __call__(
        self, template: Template, *, warm: Sequence[str], host_cpus: tuple[int, ...]
    ) -> AbstractAsyncContextManager[Original]:
        """``warm`` is what it is asked besides the question of ``[ready]``, ``host_cpus`` are the processors that it
        and its copies may use. Raises NotCopied, ToolMissing."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to make copies. ``gain`` says what for, in a few words."""

    name: str
    gain: str
    missing: Callable[[], str | None]
    """Why it cannot be used on this machine; None when it can."""
    refused: Callable[[Template], str | None]
    """Why it cannot copy clones of a template; None when it may."""
    prepare: Prepare


def installed() -> tuple[Engine, ...]:
    """The engines that are there, in the order in which they are tried."""
    found = []
    for name in MODULES:
        try:
            found.append(import_module(name).ENGINE)
        except ModuleNotFoundError as error:
            if error.name != name:  # it is there, and what it needs is not
                raise
    return tuple(found)


def chosen(template: Template) -> Engine | str:
    """The first engine that may copy clones of a template, or why there is none."""
    reasons = []
    for engine in installed():
        why = engine.refused(template)
        if why is None:
            return engine
        reasons.append(why)
    return "; ".join(reasons) or NONE


def note(why: str) -> Note:
    """The message where there is no engine."""
    return Note(f"{why}: every clone is a new QEMU")
