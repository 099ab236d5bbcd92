"""What is shown of an image: each figure is a picture and the table beside it, from one part of the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from imagebuilder.measure.compare import Change
from imagebuilder.measure.footprint import MEANING as KINDS
from imagebuilder.measure.memory import MIB_BYTES
from imagebuilder.measure.phases import MEANING
from imagebuilder.measure.render import words
from imagebuilder.measure.render.lines import Line
from imagebuilder.measure.render.pictures import Piece, Row, bars, colour, ratios, strip, trend
from imagebuilder.measure.render.words import Unit
from imagebuilder.measure.report import ImageReport, Memory, Startup
from imagebuilder.measure.statistics import Summary

INITCALLS = 12  # so many are shown
ADDS_UP_MS, ADDS_UP_SHARE = 1, 0.01  # phases that miss the whole by more than both do not add up


NOT_TOLD_APART = "not told apart"
Part = tuple[str, float | None]


@dataclass(frozen=True, slots=True)
class Cells:
    """A row of a table, with the colour that it has in the picture, and what stands small below its name."""

    cells: tuple[str, ...]
    colour: str = ""
    last: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture (or several, each with a caption) and its table. Without pictures nothing was measured."""

    key: str
    title: str
    text: str
    pictures: tuple[tuple[str, Markup], ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[Cells, ...] = ()


def of_image(image: ImageReport) -> tuple[Figure, ...]:
    """All figures of one image, those that were not measured too."""
    made = (
        _comparison(image),
        _phases(image),
        _samples(image),
        _beside_the_floor(image),
        _memory(image),
        _size(image),
        _initcalls(image),
    )
    return tuple(figure for figure in made if figure)


# --- start-up ---------------------------------------------------------------------------------------------------------


def median_run(ready: Summary) -> int:
    """The run, counted from 0, whose time is nearest to the median."""
    return min(range(len(ready.samples)), key=lambda run: abs(ready.samples[run] - ready.median))


def waterfall(startup: Startup) -> tuple[Part, ...]:
    """The phases of the median run in ms, which add up to its time to ready; None is not known. What is left between
    phases that are not known is a part of its own."""
    run = median_run(startup.ready_ms)
    runs = len(startup.ready_ms.samples)
    parts: list[Part] = [
        (name, summary.samples[run] if summary and len(summary.samples) == runs else None)
        for name, summary in startup.phases_ms.items()
    ]
    whole = startup.ready_ms.samples[run]
    unknown = [index for index, (_, took) in enumerate(parts) if took is None]
    if unknown and not adds_up(parts, whole) and total(parts) < whole:
        parts.insert(unknown[0], (NOT_TOLD_APART, whole - total(parts)))
    return tuple(parts)


def total(parts: Sequence[Part]) -> float:
    """What the known phases come to."""
    return sum(took for _, took in parts if took is not None)


def adds_up(parts: Sequence[Part], whole_ms: float) -> bool:
    """Whether phases come to the whole."""
    return abs(total(parts) - whole_ms) <= max(ADDS_UP_MS, ADDS_UP_SHARE * whole_ms)


def _phases(image: ImageReport) -> Figure:
    title = "Where the time goes"
    startup = image.startup
    if startup is None or not startup.phases_ms:
        return Figure("phases", title, f"The phases of its start were {words.NOT_MEASURED}.")
    parts, run = waterfall(startup), median_run(startup.ready_ms)
    whole = startup.ready_ms.samples[run]
    rows, begin = [], 0.0
    for index, (name, took) in enumerate(parts):
        if took is not None:
            rows.append(Row(name, words.ms(took), (Piece(name, took, colour(index)),), begin))
            begin += took
    sentence = "they add up to it" if adds_up(parts, whole) else "in this report they do not add up to it"
    text = f"The phases of run {run + 1}, the one nearest to the median: ready after {words.ms(whole)}; {sentence}."
    if startup.clock_step_ms is not None:
        step = words.ms(startup.clock_step_ms)
        text += f" The guest's clock went in steps of {step} in some of the starts: its phases are no truer than that."
    picture = bars(rows, title=f"Phases of the start of {image.name}, {words.ms(whole)} in all", unit=words.ms)
    cells = [_phase(index, part, whole, startup.phases_ms.get(part[0])) for index, part in enumerate(parts)]
    last = Cells(("ready", words.ms(whole), "", _span(startup.ready_ms)), last=True)
    return Figure(
        "phases", title, text, (("", picture),), ("phase", f"run {run + 1}", "share", "all runs"), (*cells, last)
    )


def _phase(index: int, part: Part, whole: float, summary: Summary | None) -> Cells:
    name, took = part
    note = MEANING.get(name, "")
    if took is None:
        return Cells((name, words.ms(None), "", ""), note=note)
    return Cells((name, words.ms(took), f"{100 * took / whole:.0f} %", _span(summary)), colour(index), note=note)


def _span(summary: Summary | None) -> str:
    return words.NOT_MEASURED if summary is None else f"{summary.min:,.1f} to {summary.max:,.1f} ms"


# What a start gave samples of -> its name in words, and how a value is said.
SAMPLED: Mapping[str, tuple[str, Unit]] = {
    "ready_ms": ("time to ready", words.ms),
    "floor_ms": ("the floor", words.ms),
    "floors": ("multiples of the floor", words.times),
    "cpu_ms": ("processor time of QEMU", words.ms),
    "instructions": ("guest instructions", words.count),
}


def _samples(image: ImageReport) -> Figure:
    title = "Every sample"
    startup = image.startup
    if startup is None:
        return Figure("samples", title, f"Its start was {words.NOT_MEASURED}.")
    given: dict[str, Summary | None] = {key: getattr(startup, key) for key in SAMPLED}
    pictures = []
    for key, summary in given.items():
        name, say = SAMPLED[key]
        if summary is not None:
            low, high, _ = words.interval(summary)
            pictures.append((name, strip(summary, title=f"{name} of {image.name}", interval=(low, high), unit=say)))
    band = words.interval(startup.ready_ms)[2]
    text = f"A dot is one start, the line the median, the band {band}. The axes need not begin at 0."
    if startup.ready_ms.ci95 and startup.ready_ms.inconclusive:
        text += " The interval of the time to ready is too wide to conclude anything: more runs, or a quieter machine."
    heads = ("", "runs", "median", "p95", "smallest", "largest")
    return Figure(
        "samples", title, text, tuple(pictures), heads, tuple(_sampled(key, each) for key, each in given.items())
    )


def _sampled(key: str, summary: Summary | None) -> Cells:
    name, say = SAMPLED[key]
    if summary is None:
        return Cells((name, "", words.NOT_MEASURED, "", "", ""))
    figures = (summary.median, summary.p95, summary.min, summary.max)
    return Cells((name, str(len(summary.samples)), *map(say, figures)))


def _beside_the_floor(image: ImageReport) -> Figure:
    title = "Beside the floor"
    startup = image.startup
    if startup is None:
        return Figure("floor", title, f"Its start was {words.NOT_MEASURED}.")
    floor, ready = startup.floor_ms, startup.ready_ms
    multiple = words.times(words.floors(startup))
    rows = (
        Row("floor", words.ms(floor.median), (Piece("floor", floor.median, "grey"),), whisker=(floor.min, floor.max)),
        Row("ready", words.ms(ready.median), (Piece("ready", ready.median, "c0"),), whisker=(ready.min, ready.max)),
    )
    text = f"An empty machine of the same kind, started in turn with the image. The image takes {multiple} as long."
    picture = bars(rows, title=f"{image.name} beside an empty machine: {multiple} the floor", unit=words.ms)
    cells = (
        Cells(("floor", words.ms(floor.median), "1.0 ×"), "grey"),
        Cells(("ready", words.ms(ready.median), multiple), "c0"),
    )
    return Figure("floor", title, text, (("", picture),), ("", "median", "of the floor"), cells)


def _initcalls(image: ImageReport) -> Figure | None:
    """Only where it was asked for: it is a run of its own."""
    spent = image.startup.initcalls_ms if image.startup else None
    if not spent:
        return None
    largest = sorted(spent.items(), key=lambda each: -each[1])
    shown, rest = largest[:INITCALLS], sum(took for _, took in largest[INITCALLS:])
    rows = [Row(name, words.ms(took), (Piece(name, took, "c1"),)) for name, took in shown]
    picture = bars(rows, title=f"The largest initcalls of {image.name}", unit=words.ms)
    cells = [Cells((name, words.ms(took))) for name, took in shown]
    if len(largest) > INITCALLS:
        cells.append(Cells((f"{len(largest) - INITCALLS} others", words.ms(rest))))
    total = Cells(("all", words.ms(sum(spent.values()))), last=True)
    text = "What the kernel's own start spent, largest first, from a run of its own."
    return Figure(
        "initcalls", "Inside the kernel's start", text, (("", picture),), ("initcall", "took"), (*cells, total)
    )


# --- beside a reference -----------------------------------------------------------------------------------------------


def _comparison(image: ImageReport) -> Figure | None:
    """Only where there was a reference."""
    found = image.comparison
    if found is None:
        return None
    how = "in the same run" if found.paired else "in another run"
    text = f"Beside {found.reference}, measured {how}: {found.verdict} ({found.why})."
    spans = [(change.what, (change.low, change.ratio, change.high)) for change in found.changes]
    pictures = (("", ratios(spans, title=f"{image.name} beside {found.reference}", unit=words.times)),) if spans else ()
    heads = ("", "ratio", "99 % interval", "verdict")
    return Figure("comparison", "Beside a reference", text, pictures, heads, tuple(map(_change, found.changes)))


def _change(change: Change) -> Cells:
    ratio, interval = f"{change.ratio:.3f}", f"{change.low:.3f} to {change.high:.3f}"
    return Cells((change.what, ratio, interval, change.verdict.value))


# --- memory -----------------------------------------------------------------------------------------------------------


def _memory(image: ImageReport) -> Figure:
    title = "Memory"
    memory = image.memory
    if memory is None:
        return Figure("memory", title, f"Its memory was {words.NOT_MEASURED}.")
    given = image.machine.memory_mib * MIB_BYTES if image.machine else None
    rows = (
        _given("the machine has", given, "grey"),
        _given("least memory with which it answers", memory.minimum_bytes, "c2"),
        _parts("in the guest", memory.guest_used_bytes, guest_pieces(memory)),
        _parts("of the host, QEMU included", memory.host_pss_bytes, host_pieces(memory)),
    )
    picture = bars(rows, title=f"Memory of {image.name}", unit=words.size)
    cells = [cell for row in rows for cell in _with_pieces(row)]
    text = "When it is ready. Of the host counts QEMU's proportional set size."
    return Figure("memory", title, text, (("", picture),), ("", "bytes"), tuple(cells))


def guest_pieces(memory: Memory) -> tuple[Piece, ...]:
    """Where the guest's memory is; by kind where the report has that, else all that is used."""
    kinds = {kind: amount for kind, amount in (memory.guest_bytes or {}).items() if kind != "total"}
    if kinds:
        return tuple(
            Piece(kind, max(amount, 0), _shade(kind, index)) for index, (kind, amount) in enumerate(kinds.items())
        )
    return () if memory.guest_used_bytes is None else (Piece("used", memory.guest_used_bytes, "c0"),)


def _shade(kind: str, index: int) -> str:
    return "free" if kind == "free" else colour(index)


def host_pieces(memory: Memory) -> tuple[Piece, ...]:
    """What QEMU takes: its own share, which an empty machine takes too, apart where the report has that."""
    whole = memory.host_pss_bytes
    if whole is None:
        return ()
    floor = (memory.host_bytes or {}).get("floor_pss")
    if floor is None or floor > whole:
        return (Piece("QEMU and the guest", whole, "c3"),)
    return (Piece("QEMU's own, as an empty machine takes", floor, "grey"), Piece("for this guest", whole - floor, "c3"))


def _given(label: str, amount: int | None, shade: str) -> Row:
    said = words.mib(None if amount is None else amount / MIB_BYTES)
    return Row(label, said, () if amount is None else (Piece(label, amount, shade),))


def _parts(label: str, amount: int | None, pieces: tuple[Piece, ...]) -> Row:
    return Row(label, words.size(amount), pieces)


def _with_pieces(row: Row) -> tuple[Cells, ...]:
    """A row of the picture in the table, and its pieces below it when it has several."""
    if len(row.pieces) < 2:
        return (Cells((row.label, row.said), row.pieces[0].colour if row.pieces else ""),)
    pieces = tuple(
        Cells((piece.name, words.size(piece.amount)), piece.colour, note=KINDS.get(piece.name, ""))
        for piece in row.pieces
    )
    return (Cells((row.label, row.said)), *pieces)


# --- size -------------------------------------------------------------------------------------------------------------


def _size(image: ImageReport) -> Figure:
    title = "Size"
    if image.bytes is None:
        return Figure("size", title, f"Its size was {words.NOT_MEASURED}.")
    parts = image.parts
    amounts = {"kernel": parts.kernel, "root": parts.root, "rest": parts.rest} if parts else {"image": image.bytes}
    pieces = tuple(Piece(name, amount, colour(index)) for index, (name, amount) in enumerate(amounts.items()))
    promised = [row.limit for row in image.budget if row.key == "image_bytes"]
    limits = [Row("promised, at most", words.size(limit), (Piece("promised", limit, "grey"),)) for limit in promised]
    rows = (Row("as shipped", words.size(image.bytes), pieces), *limits)
    picture = bars(rows, title=f"Size of {image.name} as shipped: {words.size(image.bytes)}", unit=words.size)
    cells = [Cells((piece.name, words.size(piece.amount)), piece.colour) for piece in pieces]
    text = "Packed with tar and zstd -19. Each part is packed alone too, so that their sum is a little off the whole."
    total = Cells(("as shipped", words.size(image.bytes)), last=True)
    return Figure("size", title, text, (("", picture),), ("", "bytes"), (*cells, total))


# --- history ----------------------------------------------------------------------------------------------------------

Values = tuple[float, float, float] | None
# What is followed over several reports: its name, how it is said, and its (low, value, high) in an image's report.
FOLLOWED: Mapping[str, tuple[Unit, Callable[[ImageReport], Values]]] = {
    "time to ready": (words.ms, lambda image: _spread(image.startup.ready_ms if image.startup else None)),
    "multiples of the floor": (words.times, lambda image: _alone(words.floors(image.startup))),
    "guest instructions": (words.count, lambda image: _spread(image.startup.instructions if image.startup else None)),
    "size as shipped": (words.size, lambda image: _alone(image.bytes)),
    "used in the guest": (words.size, lambda image: _alone(image.memory.guest_used_bytes if image.memory else None)),
    "taken from the host": (words.size, lambda image: _alone(image.memory.host_pss_bytes if image.memory else None)),
    "least memory": (words.mib, lambda image: _alone(_least_mib(image.memory))),
}


def history(line: Line) -> Figure | None:
    """An image over the reports of one place, in their order; None when there is but one. What no report has is left
    out."""
    if len(line.points) < 2:
        return None
    images = [point.image for point in line.points]
    followed = {name: (say, [of(image) for image in images]) for name, (say, of) in FOLLOWED.items()}
    followed = {name: row for name, row in followed.items() if any(row[1])}
    pictures = tuple(
        (name, trend(values, title=f"{name} of {line.last.image.name} over {len(values)} reports", unit=say))
        for name, (say, values) in followed.items()
    )
    rows = [
        Cells((str(index + 1), point.label, *(say(_middle(values[index])) for say, values in followed.values())))
        for index, point in enumerate(line.points)
    ]
    text = "In the order in which the reports were given. The axes need not begin at 0; a gap was not measured."
    return Figure("history", "History", text, pictures, ("", "report", *followed), tuple(rows))


def _least_mib(memory: Memory | None) -> float | None:
    return None if memory is None or memory.minimum_bytes is None else memory.minimum_bytes / MIB_BYTES


def _spread(summary: Summary | None) -> Values:
    return None if summary is None else (summary.min, summary.median, summary.max)


def _alone(value: float | None) -> Values:
    return None if value is None else (value, value, value)


def _middle(values: Values) -> float | None:
    return None if values is None else values[1]
