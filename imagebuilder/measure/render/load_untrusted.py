"""Reports as they are given to us: anybody may have written them, so they are checked and tamed before use."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import InputError
from imagebuilder.measure.report import Report, load, parse

LARGEST = 10**18  # nothing that we measure, in any unit that we use, comes near to it
# Differences can be less than 0, and so can what is left when the kernel's counters of its memory are summed up late.
SIGNED = re.compile(r"\.(difference|guest_bytes\.\w+)$")
# Turn the direction of the text around them: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSHOWN = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, separators of lines and paragraphs
INSTEAD = "\ufffd"


@dataclass(frozen=True, slots=True)
class UntrustedReport:
    """A report, and what it is called among others."""

    label: str
    report: Report


def read(paths: Sequence[Path]) -> tuple[UntrustedReport, ...]:
    """The reports in some files, in this order. Raises InputError, one sentence about the first that is not right."""
    reports = [tamed(load(path), where=str(path)) for path in paths]
    return tuple(UntrustedReport(label, report) for label, report in zip(labels(paths), reports, strict=True))


def labels(paths: Sequence[Path]) -> tuple[str, ...]:
    """The files' names, or where two are the same, the paths as they were given."""
    names = [path.name for path in paths]
    return tuple(plain(str(path) if names.count(path.name) > 1 else path.name) for path in paths)


def tamed(report: Report, *, where: str = "the report") -> Report:
    """The report with every text printable on one line. Raises InputError for figures that no measurement can give."""
    document = _tame(report.as_json(), where, "")
    for index, image in enumerate(document["images"]):
        for name in ("floor_ms", "ready_ms"):
            if image["startup"] and image["startup"][name]["median"] <= 0:
                raise InputError(
                    f"{where}: images.{index}.startup.{name} is 0, which no start is: make the report again"
                )
    return parse(document, where=where)


def plain(text: str) -> str:
    """A text on one line, without characters that steer a terminal or turn the text around them."""
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\r\t":
        return " "
    hidden = character in TURNING or unicodedata.category(character) in UNSHOWN or ord(character) & 0xFFFE == 0xFFFE
    return INSTEAD if hidden else character


def _tame(value: Any, where: str, place: str) -> Any:
    match value:
        case str():
            return plain(value)
        case dict():
            if value.get("samples") == []:
                raise InputError(f"{where}: {plain(place)} has no samples: make the report again")
            return {plain(key): _tame(each, where, f"{place}.{key}".lstrip(".")) for key, each in value.items()}
        case list():
            return [_tame(each, where, f"{place}.{index}") for index, each in enumerate(value)]
        case bool() | None:
            return value
        case _ if not (-LARGEST if SIGNED.search(place) else 0) <= value <= LARGEST:  # as no NaN does
            raise InputError(f"{where}: {plain(place)} is {str(value)[:20]}, which cannot be: make the report again")
        case _:
            return value
