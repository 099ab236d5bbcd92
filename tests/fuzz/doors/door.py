"""What a door is, and how it may refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import ImagebuilderError

ROOT = Path(__file__).parent.parent.parent.parent
Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Door:
    """Where foreign data comes in."""

    name: str
    what: str
    read: Read
    corpus: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    """Of its language, to put in besides."""
    refusals: tuple[type[Exception], ...] = ()
    """How it refuses, besides with a sentence for the user."""


def is_refusal(door: Door, error: Exception) -> bool:
    """Whether an input was refused as it should be."""
    return is_sentence(error) or isinstance(error, door.refusals)


def is_sentence(error: Exception) -> bool:
    """Whether an error is one for the user: a sentence on one line, of several mistakes one each."""
    if not isinstance(error, ImagebuilderError):
        return False
    lines = error.message.split("\n")
    return bool(error.message) and all(line.isprintable() for line in lines) and len(error.message) < 1 << 16
