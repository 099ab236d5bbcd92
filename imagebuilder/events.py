"""What the engine says while it works. It calls ``say(event)``; who draws that, and whether, is not its concern."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """What a step counts."""

    BYTES = "bytes"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Begun:
    """A step began. ``total`` is what it will count to, when that is known."""

    step: str
    title: str
    total: int | None = None
    unit: Unit = Unit.ITEMS


@dataclass(frozen=True, slots=True)
class Progress:
    """A step came further; ``total`` may have become known meanwhile."""

    step: str
    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A step ended; ``cached`` when the store had its result already."""

    step: str
    title: str
    cached: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A step will not end: it failed, or was interrupted."""

    step: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line that is worth reading only with ``-v``."""

    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """A line that the user should read, but not with ``-q``: nothing is wrong."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """A sentence that the user should read."""

    text: str


@dataclass(frozen=True, slots=True)
class Damaged(Warned):
    """An entry of the cache was damaged, and is made again."""


Event = Begun | Progress | Ended | GivenUp | Note | Told | Warned
Say = Callable[[Event], None]


def silent(_event: Event) -> None:
    """The listener that draws nothing."""


def first_damage(say: Say) -> Say:
    """A listener that hears of damage once: what else is damaged is mended for the same reason."""
    told: list[Event] = []

    def tell(event: Event) -> None:
        if not isinstance(event, Damaged) or not told:
            say(event)
        if isinstance(event, Damaged):
            told.append(event)

    return tell


@contextmanager
def step(say: Say, name: str, title: str, *, total: int | None = None, unit: Unit = Unit.ITEMS) -> Iterator[None]:
    """Announce that work begins, and that it ended or was given up."""
    say(Begun(name, title, total, unit))
    try:
        yield
    except BaseException:
        say(GivenUp(name))
        raise
    say(Ended(name, title))
