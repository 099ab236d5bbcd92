"""``imagebuilder bench --density``: clones up at the same time, measured and shown."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from imagebuilder.cli.columns import Column, draw
from imagebuilder.cli.options import megabytes
from imagebuilder.measure.density import Density
from imagebuilder.measure.report import Report
from imagebuilder.words import counted


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
