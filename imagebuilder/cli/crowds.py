"""``imagebuilder bench --density``: clones up at the same time, measured and shown."""

from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.text import Text

from imagebuilder.cli import signals
from imagebuilder.cli.columns import Column, draw
from imagebuilder.cli.options import megabytes
from imagebuilder.events import Say
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.warming import found_or_made
from imagebuilder.measure import density
from imagebuilder.measure.checks import CLONES
from imagebuilder.measure.density import Density, Wish
from imagebuilder.measure.report import Check, ImageReport, MachineShape, Report
from imagebuilder.measure.subject import Subject
from imagebuilder.store import Store
from imagebuilder.words import counted

MOST = "max"


class Clones(click.ParamType[Wish]):
    """A number of clones, or as many as there can be."""

    name = "N|max"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Wish:
        """What is to be measured."""
        if value == MOST:
            return Wish.of(None)
        if not str(value).isdecimal() or not 0 < int(str(value)) < 1 << 31:
            self.fail(f"{value!r} is no number of clones: give 1 or more, or {MOST}", param, ctx)
        return Wish.of(int(str(value)))


def measured(subjects: Sequence[Subject], wish: Wish, store: Store, say: Say) -> list[ImageReport]:
    """What there is to say of each image's clones; a template that is missing or stale is made."""
    return [_measured(each, wish, store, say) for each in subjects]


def _measured(subject: Subject, wish: Wish, store: Store, say: Say) -> ImageReport:
    assert subject.bundle is not None
    image = subject.bundle.image
    template = signals.run(found_or_made(Wanted(subject.bundle, subject.spec), store, say=say))
    found = signals.run(density.measure(template, wish, say=say))
    spec = subject.spec
    return ImageReport(
        name=subject.name,
        version=image.version,
        digest=image.digest,
        kernel=image.kernel.name,
        root=image.root.format,
        machine=MachineShape(type=spec.machine.value, memory_mib=spec.memory_mib, cpus=spec.cpus),
        density=found,
        checks=(Check(name=CLONES, holds=found.holds, message=None if found.holds else found.why),),
    )


def show(console: Console, report: Report, *, why: str) -> None:
    """Print the images of a report side by side, and what limited them."""
    found = [(image.name, image.density) for image in report.images if image.density is not None]
    columns = [Column(head, list(cells), rank) for (head, rank), cells in zip(HEADS, _cells(found), strict=True)]
    draw(console, "clones up at the same time", columns)
    for name, each in found:
        if each.copied:
            told = (
                f"{name}: copies of one QEMU, which was there before the first was spawned (--no-fork-server: none is)"
            )
            console.print(Text(told, style="dim"), soft_wrap=True)
        if each.why is not None:
            style = "" if each.holds else "red"
            console.print(
                Text(f"{name}: {counted(each.answered, 'clone')}, then {each.why}", style=style), soft_wrap=True
            )
    host = report.host
    where = f"{host.cpu or 'an unknown processor'}, {counted(host.cores or 0, 'core')}, QEMU {host.qemu or 'unknown'}"
    console.print(Text(f"measured on {where}, {host.accelerator} ({why})", style="dim"), soft_wrap=True)


# A column of the table, and what is left out first where there is no room.
HEADS = (
    ("image", 0),
    ("clones", 0),
    ("answer ms", 0),
    ("p95", 3),
    ("last", 4),
    ("all after s", 1),
    ("asked together ms", 2),
    ("own each", 1),
    ("all together", 1),
)


def _cells(found: Sequence[tuple[str, Density]]) -> Iterator[tuple[str, ...]]:
    """The columns' cells."""
    rows = [(name, *_row(each)) for name, each in found]
    yield from zip(*rows, strict=True) if rows else ((),) * len(HEADS)


def _row(found: Density) -> Iterator[str]:
    yield f"{found.answered} of {found.asked}" if found.asked is not None else f"{found.answered}"
    answer, again, own = found.answer_ms, found.again_ms, found.own_bytes
    yield from (f"{each:.0f}" for each in (answer.median, answer.p95, answer.max)) if answer else ("", "", "")
    yield f"{found.all_ms / 1000:.1f}" if found.all_ms is not None else ""
    yield f"{again.median:.0f} to {again.max:.0f}" if again else ""
    yield megabytes(own.median) if own else ""
    yield megabytes(found.pss_bytes) if found.pss_bytes is not None else ""
