"""A report as people read it: a waterfall of the start, the figures, and what was promised."""

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagebuilder.cli import tables
from imagebuilder.cli.options import megabytes
from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.phases import MEANING
from imagebuilder.measure.report import ImageReport, Report, Startup
from imagebuilder.measure.statistics import Summary
from imagebuilder.words import counted

BAR_CELLS, NARROW_BAR_CELLS = 40, 30
WIDE_CELLS = 100  # with less there is no room to say what each phase is
MOST_INITCALLS = 12
COARSE = "the guest's clock went in steps of {:g} ms in some of the starts: its phases are no truer than that"


def show(console: Console, report: Report, *, why: str) -> None:
    """Print every image of a report, then what it was measured on."""
    for image in report.images:
        for part in _image(image, wide=console.width >= WIDE_CELLS):
            tables.show(console, part)
    host = report.host
    where = f"{host.cpu or 'an unknown processor'}, {counted(host.cores or 0, 'core')}, QEMU {host.qemu or 'unknown'}"
    console.print(Text(f"measured on {where}, {host.accelerator} ({why})", style="dim"), soft_wrap=True)


def _image(image: ImageReport, *, wide: bool) -> Iterator[Table | Text]:
    yield Text(_title(image), style="bold")
    for check in image.checks:
        if not check.holds:
            told = check.message or "not reached"
            yield Text(f"✗ {check.name}: {told}", style="red" if check.holds is False else "dim")
    if image.startup is not None:
        yield _waterfall(image.startup, wide=wide)
        if image.startup.clock_step_ms is not None:
            yield Text(COARSE.format(image.startup.clock_step_ms), style="yellow")
        if image.startup.initcalls_ms:
            yield initcalls(image.name, image.startup.initcalls_ms)
    yield _figures(image)
    if image.budget:
        yield _budget(image.budget)


def _title(image: ImageReport) -> str:
    words = [image.name, image.version or ""]
    if image.kernel and image.machine:
        words.append(f"on {image.kernel}, {image.machine.words}")
    return " ".join(word for word in words if word)


def _waterfall(startup: Startup, *, wide: bool) -> Table:
    table = Table(
        title=f"from spawning the machine to ready, median of {len(startup.ready_ms.samples)}", title_justify="left"
    )
    table.add_column("phase")
    table.add_column("ms", justify="right")
    cells = BAR_CELLS if wide else NARROW_BAR_CELLS
    table.add_column("", width=cells)
    table.add_column("what it is" if wide else "")
    whole = startup.ready_ms.median
    begin = 0.0
    for name, summary in startup.phases_ms.items():
        took = summary.median if summary else None
        bar, meaning = _bar(begin, took, whole, cells), MEANING.get(name, "") if wide else ""
        table.add_row(Text(name), "–" if took is None else f"{took:.1f}", bar, meaning)
        begin += took or 0
    table.add_section()
    table.add_row("ready", f"{whole:.1f}", _spread(startup.ready_ms), f"{startup.times_floor:.1f} × the floor")
    floor, where = startup.floor_ms, "an empty machine, in the same run" if wide else "an empty machine"
    table.add_row("floor", f"{floor.median:.1f}", _spread(floor), where)
    return table


def initcalls(name: str, took_ms: Mapping[str, float]) -> Table:
    """The largest of them."""
    title = f"the initcalls of {name}'s kernel: {sum(took_ms.values()):.1f} ms in all, the largest of {len(took_ms)}"
    table = Table("initcall", title=Text(title), title_justify="left", min_width=len(title))
    table.add_column("ms", justify="right")
    for name, took in list(took_ms.items())[:MOST_INITCALLS]:
        table.add_row(Text(name), f"{took:.3f}")
    return table


def _bar(begin: float, took: float | None, whole: float, cells: int) -> Text:
    if took is None or whole <= 0:
        return Text("")
    before = min(round(cells * begin / whole), cells - 1)
    length = max(1, round(cells * took / whole))
    return Text(" " * before + "█" * min(length, cells - before), style="cyan")


def _spread(summary: Summary) -> str:
    return f"{summary.min:.1f} to {summary.max:.1f}"


def _figures(image: ImageReport) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    parts = image.parts
    made = f"kernel {megabytes(parts.kernel)}, root {megabytes(parts.root)}" if parts else ""
    table.add_row("image as shipped", _bytes(image.bytes), made)
    memory = image.memory
    if memory is not None:
        table.add_row("memory used in the guest", _bytes(memory.guest_used_bytes), "")
        table.add_row("memory taken from the host", _bytes(memory.host_pss_bytes), "QEMU included")
        if memory.minimum_bytes is not None:
            table.add_row("least memory", f"{memory.minimum_bytes >> 20} MiB", "with which it still answers")
    return table


def _bytes(value: int | None) -> str:
    return "not measured" if value is None else megabytes(value)


def _budget(rows: tuple[BudgetRow, ...]) -> Table:
    table = Table("", "promise", title="budget", title_justify="left")
    table.add_column("at most", justify="right")
    table.add_column("measured", justify="right")
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:,}"
        table.add_row("[green]✓[/]" if row.holds else "[red]✗[/]", Text(row.key), f"{row.limit:,}", value)
    return table
