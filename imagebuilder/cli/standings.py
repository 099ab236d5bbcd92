"""What a benchmark found, as people read it: a row an image, and what a comparison says of each part."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagebuilder.cli.figures import initcalls
from imagebuilder.measure.change import Change, Verdict
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.render.words import cost, promise
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.measure.statistics import Summary

STYLES = {Verdict.FASTER: "green", Verdict.SAME: "green", Verdict.SLOWER: "red", Verdict.UNDECIDED: "yellow"}
UNITS = {"floors": "×", "instructions": ""}


def show(console: Console, report: Report, *, why: str, commands: bool = False) -> None:
    """Print the images of a report side by side, their comparisons, and what they were measured on; with ``commands``
    also the line that starts each by hand."""
    console.print(_table(report))
    for image in report.images:
        for line in _below(image):
            console.print(line, soft_wrap=isinstance(line, Text))
    for image in report.images if commands else ():
        if image.command:
            console.print(Text(f"# {image.name}, bare\n{image.command}"), soft_wrap=True)
    host = report.host
    kept = f"pinned to processors {_listed(report.pinned)}" if report.pinned else "not pinned: too few processors"
    where = f"{host.cpu or 'an unknown processor'}, {host.cores} cores, QEMU {host.qemu or 'unknown'}"
    console.print(Text(f"measured on {where}, {host.accelerator} ({why}), {kept}", style="dim"), soft_wrap=True)


def _table(report: Report) -> Table:
    runs = max((len(image.startup.ready_ms.samples) for image in report.images if image.startup), default=0)
    table = Table(title=f"from spawning the machine to ready, {runs} rounds in turn", title_justify="left")
    table.add_column("image")
    for head in ("median ms", "95 % interval", "min to max", "p95", "× floor", "CPU ms", "instructions"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for image in report.images:
        table.add_row(*_row(image))
    return table


def _row(image: ImageReport) -> Iterator[Text]:
    startup = image.startup
    if startup is None:
        yield Text(image.name)
        return
    ready = startup.ready_ms
    yield Text(image.name)
    yield Text(f"{ready.median:.1f}")
    yield Text(f"{_interval(ready)}{' !' if image.warnings else ''}", style="yellow" if image.warnings else "")
    yield Text(f"{ready.min:.0f} to {ready.max:.0f}")
    yield Text(f"{ready.p95:.0f}")
    yield Text(f"{startup.times_floor:.1f}")
    yield Text(_median(startup.cpu_ms, ".0f"))
    yield Text(_median(startup.instructions, ",.0f"))
    comparison = image.comparison
    yield Text(comparison.verdict.value, style=STYLES[comparison.verdict]) if comparison else Text("")


def _below(image: ImageReport) -> Iterator[Text | Table]:
    for warning in image.warnings:
        yield Text(f"! {image.name}: {warning}", style="yellow")
    for row in image.budget:
        if not row.holds:
            yield Text(f"✗ {image.name}: {promise(row)}", style="red")
    if image.comparison is not None:
        yield _comparison(image.name, image.comparison)
    startup = image.startup
    if startup is not None and (said := cost(startup)):
        yield Text(f"{image.name}: {said}")
    if startup is not None and startup.initcalls_ms:
        yield initcalls(image.name, startup.initcalls_ms)


def _comparison(name: str, comparison: Comparison) -> Table:
    title = f"{name} beside {comparison.reference}: {comparison.said} ({comparison.why})"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("what")
    for head in ("ratio", "99 % interval", "difference", "seen from"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for change in comparison.changes:
        verdict = Text(change.verdict.value, style=STYLES[change.verdict])
        interval = f"{change.low:.3f} to {change.high:.3f}"
        seen = f"{change.seen_from:.2f}" if change.seen_from else "–"
        table.add_row(Text(change.what), f"{change.ratio:.3f}", interval, _difference(change), seen, verdict)
    return table


def _difference(change: Change) -> str:
    unit = UNITS.get(change.what, "ms")
    return f"{change.difference:+,.{0 if change.what == 'instructions' else 1}f} {unit}".rstrip()


def _interval(summary: Summary) -> str:
    return f"{summary.ci95[0]:.1f} to {summary.ci95[1]:.1f}" if summary.ci95 else "–"


def _median(summary: Summary | None, form: str) -> str:
    return "–" if summary is None else format(summary.median, form)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
