"""JSON and TOML from outside, read within limits: so long, so deep, numbers of 64 bits, characters that are some.

A caller of this module need not think of what the parsers let through or stumble over: ten thousand
brackets, an integer of 400 digits, half a character, a key of 30,000 parts (on which ``tomllib`` spends 4 GB).
"""

import errno
import json
import math
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from imagebuilder.words import printable, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_BYTES = 2 << 20
MOST_TOML_BYTES = 1 << 20
MOST_DEPTH = 64
MOST_KEY_PARTS = 64
MOST_KEY_CHARACTERS = 4096
MOST_TOML_VALUES = 10_000

Place = tuple[int | str, ...]

# The tokens of TOML that matter to its depth; a text without an end goes on to that of the file.
TOKEN = re.compile(
    r'(?P<quoted>"""(?:[^\\"]|\\.|"{1,2}(?!"))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']|'{1,2}(?!'))*+(?:'{3,5}|\Z)"
    r'|"(?:[^\\"\n]|\\.)*+"?|' + r"'[^'\n]*+'?)"
    r"|(?P<comment>\#[^\n]*)|(?P<word>[A-Za-z0-9_+-]+)|(?P<blank>[ \t]+)|(?P<dot>\.)|(?P<open>[\[{])|(?P<close>[\]}])"
    r"|(?P<line>\n)|(?P<other>.)",
    re.DOTALL,
)


class Damaged(ValueError):
    """It is no document, or none that is read here. The text says why; ``line`` counts from 1 (0: it is not known),
    ``place`` is the key at which it is."""

    def __init__(self, message: str, *, line: int = 0, place: Place = ()) -> None:
        super().__init__(message)
        self.line = line
        self.place = place


def load_json(path: Path) -> Any:
    """The document in a file. Raises Damaged, OSError."""
    return json_of(read(path, MOST_BYTES))


def json_of(data: bytes, *, most_bytes: int = MOST_BYTES) -> Any:
    """The document in these bytes. Raises Damaged."""
    _check_size(data, most_bytes)
    try:
        document = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise Damaged("this is no UTF-8 text") from error
    except ValueError as error:
        raise Damaged(str(error)) from error
    check(document, finite=True)
    return document


def toml_of(
    data: bytes, *, most_bytes: int = MOST_TOML_BYTES, most_values: int = MOST_TOML_VALUES
) -> tuple[str, dict[str, Any]]:
    """The text of these bytes, and the document in it. Raises Damaged."""
    _check_size(data, most_bytes)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Damaged("this is no UTF-8 text", line=data.count(b"\n", 0, error.start) + 1) from error
    _check_tokens(text)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # tomllib's own, and those of numbers with too many digits
        raise _broken(text, str(error)) from error
    check(document, most_values=most_values)
    return text, document


def read(path: Path, most_bytes: int) -> bytes:
    """What is in a file, up to one byte more than is allowed: the caller sees that it is too long, and a
    device without an end has one; a named pipe, which may never have a writer, is not opened. Raises OSError."""
    try:
        if stat.S_ISFIFO(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "it is a pipe")
        with path.open("rb") as stream:
            return stream.read(most_bytes + 1)
    except ValueError as error:  # a NUL in its name
        raise OSError(None, str(error)) from error


def check(document: Any, *, finite: bool = False, most_values: int = MOST_BYTES) -> None:
    """Raise Damaged for what is nested too deeply, an integer of more than 64 bits, half a character, a key without an
    end, more values than are allowed, and, with ``finite``, a number that is none."""
    for count, (value, place) in enumerate(walk(document)):
        if count > 2 * most_values:  # and their keys
            raise Damaged(f"it has more than {most_values:,} values")
        if isinstance(value, dict) and any(len(key) > MOST_KEY_CHARACTERS for key in value):
            raise Damaged(f"a key of {shown(place)} is longer than {MOST_KEY_CHARACTERS:,} characters", place=place)
        if len(place) > MOST_DEPTH:
            raise Damaged(_too_deep().args[0], place=place[:1])
        if isinstance(value, str) and not _is_text(value):
            raise Damaged(f"{shown(place)} has half a character", place=place)
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise Damaged(f"{shown(place)} is a number of more than 64 bits", place=place)
        if finite and isinstance(value, float) and not math.isfinite(value):
            raise Damaged(f"{shown(place)} is no finite number", place=place)


def walk(document: Any) -> Iterator[tuple[Any, Place]]:
    """All values of a document and its keys, each with its place; the innermost that are too deep are left out."""
    pending: list[tuple[Any, Place]] = [(document, ())]
    while pending:
        value, place = pending.pop()
        yield value, place
        if len(place) > MOST_DEPTH:
            continue
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key, place
                pending.append((inner, (*place, key)))
        elif isinstance(value, list):
            pending.extend((inner, (*place, number)) for number, inner in enumerate(value))


def shown(place: Place) -> str:
    """A place for a sentence, in printable characters."""
    text = ".".join(map(str, place)) or "the document"
    return shortened(text)


def mistake_in(error: "ValidationError") -> str:
    """The first mistake that a model found in a document, in one line: the key, and what is wrong with it."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{shown(first['loc'])}: {printable(first['msg'].removeprefix('Value error, '))}"


def _check_size(data: bytes, most_bytes: int) -> None:
    if len(data) > most_bytes:
        raise Damaged(f"it is longer than {most_bytes >> 20} MiB")


def _check_tokens(text: str) -> None:
    """How deep brackets stand in each other, and how many parts a key has: before ``tomllib`` sees it."""
    depth = dots = 0
    line = 1
    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        depth += (kind == "open") - (kind == "close")
        dots = dots + (kind == "dot") if kind in ("dot", "word", "quoted", "blank") else 0
        if depth > MOST_DEPTH or dots >= MOST_KEY_PARTS:
            raise Damaged(_too_deep().args[0], line=line)
        line += token[0].count("\n") if kind in ("line", "quoted") else 0


def _broken(text: str, message: str) -> Damaged:
    """What tomllib says, with the line that it puts at the end."""
    said, _, place = message.partition(" (at ")
    line = re.search("line ([0-9]+)", place)
    last = text.rstrip().count("\n") + 1
    return Damaged(
        f"this is not TOML: {said[:1].lower()}{said[1:]}", line=int(line[1]) if line else last if place else 0
    )


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_number(word: str) -> NoReturn:
    raise Damaged(f"{word} is no number of JSON")


def _too_deep() -> Damaged:
    return Damaged("tables and lists are nested too deeply")
