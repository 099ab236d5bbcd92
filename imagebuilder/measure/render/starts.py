"""Figures of how an image starts."""

from collections.abc import Mapping, Sequence

from imagebuilder.measure.phases import MEANING
from imagebuilder.measure.render import words
from imagebuilder.measure.render.figure import Cells, Figure
from imagebuilder.measure.render.pictures import Piece, Row, bars, colour, strip
from imagebuilder.measure.render.words import Scale
from imagebuilder.measure.report import ImageReport, Startup
from imagebuilder.measure.statistics import Summary
from imagebuilder.words import counted

INITCALLS = 12  # so many are shown
ADDS_UP_MS, ADDS_UP_SHARE = 1, 0.01  # phases that miss the whole by more than both do not add up
UNATTRIBUTED = "unattributed"
Segment = tuple[str, float | None]


def median_run(ready: Summary) -> int:
    """The run, counted from 0, whose time is nearest to the median."""
    return min(range(len(ready.samples)), key=lambda run: abs(ready.samples[run] - ready.median))


def waterfall(startup: Startup) -> tuple[Segment, ...]:
    """The phases of the median run in ms, which add up to its time to ready; None is not known. What is left between
    phases that are not known is a part of its own."""
    run = median_run(startup.ready_ms)
    runs = len(startup.ready_ms.samples)
    parts: list[Segment] = [
        (name, summary.samples[run] if summary and len(summary.samples) == runs else None)
        for name, summary in startup.phases_ms.items()
    ]
    whole = startup.ready_ms.samples[run]
    unknown = [index for index, (_, took) in enumerate(parts) if took is None]
    if unknown and not adds_up(parts, whole) and total(parts) < whole:
        parts.insert(unknown[0], (UNATTRIBUTED, whole - total(parts)))
    return tuple(parts)


def total(parts: Sequence[Segment]) -> float:
    """What the known phases come to."""
    return sum(took for _, took in parts if took is not None)


def adds_up(parts: Sequence[Segment], whole_ms: float) -> bool:
    """Whether phases come to the whole."""
    return abs(total(parts) - whole_ms) <= max(ADDS_UP_MS, ADDS_UP_SHARE * whole_ms)


def phases(image: ImageReport) -> Figure:
    """The waterfall of one start."""
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


def _phase(index: int, part: Segment, whole: float, summary: Summary | None) -> Cells:
    name, took = part
    note = MEANING.get(name, "")
    if took is None:
        return Cells((name, words.ms(None), "", ""), note=note)
    return Cells((name, words.ms(took), f"{100 * took / whole:.1f} %", _span(summary)), colour(index), note=note)


def _span(summary: Summary | None) -> str:
    return words.NOT_MEASURED if summary is None else f"{summary.min:,.1f} to {summary.max:,.1f} ms"


# What has samples of each start -> its name in words, and how a value is written.
SAMPLED: Mapping[str, tuple[str, Scale]] = {
    "ready_ms": ("time to ready", words.ms),
    "floor_ms": ("the floor", words.ms),
    "bare_ms": ("time to ready of the bare command line", words.ms),
    "floors": ("multiples of the floor, each of its own", words.times),
    "cpu_ms": ("processor time of QEMU", words.ms),
    "host_ms": ("QEMU's greeting, less its waiting for a processor", words.ms),
    "instructions": ("guest instructions", words.count),
}


SELDOM = ("bare_ms", "host_ms")  # shown only where it was measured


def samples(image: ImageReport) -> Figure:
    """Every sample of every series."""
    title = "Every sample"
    startup = image.startup
    if startup is None:
        return Figure("samples", title, f"Its start was {words.NOT_MEASURED}.")
    given: dict[str, Summary | None] = {key: getattr(startup, key) for key in SAMPLED}
    given = {key: each for key, each in given.items() if each or key not in SELDOM}
    pictures = []
    for key, summary in given.items():
        name, say = SAMPLED[key]
        if summary is not None:
            low, high, _ = words.interval(summary)
            pictures.append((name, strip(summary, title=f"{name} of {image.name}", interval=(low, high), unit=say)))
    band = words.interval(startup.ready_ms)[2]
    text = f"A dot is one start, the line the median, the band {band}. The axes need not begin at 0."
    if startup.ready_ms.ci95 and startup.ready_ms.inconclusive and not image.warnings:
        text += " The interval of the time to ready is too wide to conclude anything: more runs, or a quieter machine."
    if said := words.cost(startup):
        text += f" {said}"
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


def beside_the_floor(image: ImageReport) -> Figure:
    """The time to ready and that of an empty machine, on one axis."""
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
    text = f"An empty machine of the same kind, started in turn with the image. The image takes {multiple} as long: "
    text += "the median of the rounds' ratios."
    picture = bars(rows, title=f"{image.name} beside an empty machine: {multiple} the floor", unit=words.ms)
    cells = (
        Cells(("floor", words.ms(floor.median), "1.0 ×"), "grey"),
        Cells(("ready", words.ms(ready.median), multiple), "c0"),
    )
    return Figure("floor", title, text, (("", picture),), ("", "median", "of the floor"), cells)


def initcalls(image: ImageReport) -> Figure | None:
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
        cells.append(Cells((counted(len(largest) - INITCALLS, "other"), words.ms(rest))))
    last = Cells(("all", words.ms(sum(spent.values()))), last=True)
    text = "What the kernel's own start spent, largest first, from a run of its own."
    return Figure(
        "initcalls", "Inside the kernel's start", text, (("", picture),), ("initcall", "took"), (*cells, last)
    )
