"""What may stand in one line, or in one ratio: figures of the same image in the same machine, from the same place.

A place is what gives figures: accelerator, QEMU, processor and host kernel. Figures of two places are shown apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imagebuilder.measure.host import Host
from imagebuilder.measure.render.load_untrusted import UntrustedReport
from imagebuilder.measure.report import ImageReport

# What makes a place, by the name of its field, and in words. Where one of the first three is not known, it cannot
# be said that two reports come from the same place.
PLACE: Mapping[str, str] = {
    "accelerator": "accelerator",
    "qemu": "QEMU",
    "cpu": "processor",
    "cores": "cores",
    "kernel": "host kernel",
}
KNOWN = ("accelerator", "qemu", "cpu")


@dataclass(frozen=True, slots=True)
class Point:
    """An image as one report has it."""

    label: str
    host: Host
    image: ImageReport
    made: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The same image over one or several reports, in the order in which they were given."""

    points: tuple[Point, ...]

    @property
    def last(self) -> Point:
        """The latest."""
        return self.points[-1]


@dataclass(frozen=True, slots=True)
class Place:
    """All that one place measured."""

    host: Host
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    pinned: tuple[int, ...] | None = None
    made: datetime | None = None
    """When the last of them was."""


def places(reports: Sequence[UntrustedReport]) -> tuple[Place, ...]:
    """The reports by place, in the order in which the places first appear."""
    apart: dict[Any, list[UntrustedReport]] = {}
    for index, given in enumerate(reports):
        apart.setdefault(_place(given.report.host, index), []).append(given)
    return tuple(_of_one(reports) for reports in apart.values())


def different(found: Sequence[Place]) -> tuple[str, ...]:
    """In words, what differs between places; empty when there is just one, or nothing known differs."""
    return tuple(words for name, words in PLACE.items() if len({getattr(place.host, name) for place in found}) > 1)


def apart(found: Sequence[Place]) -> str | None:
    """The sentence that goes with several places; None for one."""
    if len(found) < 2:
        return None
    differs = different(found)
    why = f"that differ in {_listed(differs)}" if differs else "that do not say well enough what they are"
    return f"These figures come from {len(found)} places {why}: each is shown apart, and they are not to be compared."


def _place(host: Host, index: int) -> Any:
    known = all(getattr(host, name) is not None for name in KNOWN)
    return tuple(getattr(host, name) for name in PLACE) if known else index


def _of_one(reports: Sequence[UntrustedReport]) -> Place:
    lines: dict[Any, list[Point]] = {}
    for given in reports:
        for image in given.report.images:
            key = (image.name, image.kernel, image.machine)
            lines.setdefault(key, []).append(Point(given.label, given.report.host, image, given.report.made))
    labels = tuple(given.label for given in reports)
    last = reports[-1].report
    return Place(last.host, labels, tuple(Line(tuple(points)) for points in lines.values()), last.pinned, last.made)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
