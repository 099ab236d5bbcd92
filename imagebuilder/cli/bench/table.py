"""What a benchmark found, as people read it: a row an image, and what a comparison says of each part."""

from rich.console import Console
from rich.text import Text

from imagebuilder.cli import tables
from imagebuilder.cli.columns import Column, draw
from imagebuilder.cli.figures import initcalls
from imagebuilder.measure.change import Change, Verdict
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.render.words import cost, promise
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.measure.statistics import Summary
from imagebuilder.words import counted

STYLES = {Verdict.FASTER: "green", Verdict.SAME: "green", Verdict.SLOWER: "red", Verdict.UNDECIDED: "yellow"}
UNITS = {"floors": "×", "instructions": ""}


def show(console: Console, report: Report, *, why: str, commands: bool = False) -> None:
    """Print the images of a report side by side, their comparisons, and what they were measured on; with ``commands``
    also the line that starts each by hand."""
    _table(console, report)
    for image in report.images:
        _below(console, image)
    for image in report.images if commands else ():
        if image.command:
            console.print(Text(f"# {image.name}, bare\n{image.command}"), soft_wrap=True)
    host = report.host
    kept = f"pinned to processors {_listed(report.pinned)}" if report.pinned else "not pinned: too few processors"
    where = f"{host.cpu or 'an unknown processor'}, {counted(host.cores or 0, 'core')}, QEMU {host.qemu or 'unknown'}"
    console.print(Text(f"measured on {where}, {host.accelerator} ({why}), {kept}", style="dim"), soft_wrap=True)


def _table(console: Console, report: Report) -> None:
    started = [(image, image.startup) for image in report.images if image.startup]
    runs = max((len(startup.ready_ms.samples) for _, startup in started), default=0)
    images, all_ready = [image for image, _ in started], [startup.ready_ms for _, startup in started]
    columns = (
        Column("image", [Text(image.name) for image in images], left=True),
        Column("median ms", [f"{ready.median:.1f}" for ready in all_ready]),
        Column("95 % interval", list(map(_said_interval, images, all_ready)), rank=1),
        Column("min to max", [f"{ready.min:.0f} to {ready.max:.0f}" for ready in all_ready], rank=4),
        Column("p95", [f"{ready.p95:.0f}" for ready in all_ready], rank=5),
        Column("× floor", [f"{startup.times_floor:.1f}" for _, startup in started]),
        Column("CPU ms", [_median(startup.cpu_ms, ".0f") for _, startup in started], rank=3),
        Column("instructions", [_median(startup.instructions, ",.0f") for _, startup in started], rank=2),
        Column("verdict", [_verdict(image.comparison) for image in images], left=True),
    )
    title = f"from spawning the machine to ready, {counted(runs, 'round')} in turn"
    draw(console, title, [column for column in columns if column.head != "verdict" or column.said])


def _said_interval(image: ImageReport, ready: Summary) -> Text:
    return Text(f"{_interval(ready)}{' !' if image.warnings else ''}", style="yellow" if image.warnings else "")


def _verdict(comparison: Comparison | None) -> Text:
    return Text(comparison.verdict.value, style=STYLES[comparison.verdict]) if comparison else Text("")


def _below(console: Console, image: ImageReport) -> None:
    for warning in image.warnings:
        console.print(Text(f"! {image.name}: {warning}", style="yellow"), soft_wrap=True)
    for row in image.budget:
        if not row.holds:
            console.print(Text(f"✗ {image.name}: {promise(row)}", style="red"), soft_wrap=True)
    if image.comparison is not None:
        _comparison(console, image.name, image.comparison)
    startup = image.startup
    if startup is not None and (said := cost(startup)):
        console.print(Text(f"{image.name}: {said}"), soft_wrap=True)
    if startup is not None and startup.initcalls_ms:
        tables.show(console, initcalls(image.name, startup.initcalls_ms))


def _comparison(console: Console, name: str, comparison: Comparison) -> None:
    changes = comparison.changes
    title = f"{name} beside {comparison.reference}: {comparison.said} ({comparison.why})"
    columns = (
        Column("what", [Text(change.what) for change in changes], left=True),
        Column("ratio", [f"{change.ratio:.3f}" for change in changes]),
        Column("99 % interval", [f"{change.low:.3f} to {change.high:.3f}" for change in changes]),
        Column("difference", list(map(_difference, changes)), rank=2),
        Column("seen from", [f"{each.seen_from:.2f}" if each.seen_from else "–" for each in changes], rank=1),
        Column("verdict", [Text(change.verdict.value, style=STYLES[change.verdict]) for change in changes], left=True),
    )
    draw(console, title, columns)


def _difference(change: Change) -> str:
    unit = UNITS.get(change.what, "ms")
    return f"{change.difference:+,.{0 if change.what == 'instructions' else 1}f} {unit}".rstrip()


def _interval(summary: Summary) -> str:
    return f"{summary.ci95[0]:.1f} to {summary.ci95[1]:.1f}" if summary.ci95 else "–"


def _median(summary: Summary | None, form: str) -> str:
    return "–" if summary is None else format(summary.median, form)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
