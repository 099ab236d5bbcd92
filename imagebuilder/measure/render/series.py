"""Figures that set an image beside others: a reference, and its own past."""

from collections.abc import Callable, Mapping

from imagebuilder.measure.change import Change
from imagebuilder.measure.memory import MIB_BYTES
from imagebuilder.measure.render import words
from imagebuilder.measure.render.figure import Cells, Figure
from imagebuilder.measure.render.lines import Line
from imagebuilder.measure.render.pictures import ratios, trend
from imagebuilder.measure.render.words import Scale
from imagebuilder.measure.report import ImageReport, Memory
from imagebuilder.measure.statistics import Summary
from imagebuilder.words import counted

Values = tuple[float, float, float] | None
# What is followed over several reports: its name, how it is written, and its (low, value, high) in an image's report.
FOLLOWED: Mapping[str, tuple[Scale, Callable[[ImageReport], Values]]] = {
    "time to ready": (words.ms, lambda image: _spread(image.startup.ready_ms if image.startup else None)),
    "multiples of the floor": (words.times, lambda image: _alone(words.floors(image.startup))),
    "guest instructions": (words.count, lambda image: _spread(image.startup.instructions if image.startup else None)),
    "size as shipped": (words.size, lambda image: _alone(image.bytes)),
    "used in the guest": (words.size, lambda image: _alone(image.memory.guest_used_bytes if image.memory else None)),
    "taken from the host": (words.size, lambda image: _alone(image.memory.host_pss_bytes if image.memory else None)),
    "least memory": (words.mib, lambda image: _alone(_least_mib(image.memory))),
}


def comparison(image: ImageReport) -> Figure | None:
    """Only where there was a reference."""
    found = image.comparison
    if found is None:
        return None
    how = "in the same run" if found.paired else "in another run"
    text = f"Beside {found.reference}, measured {how}: {found.said} ({found.why})."
    text += " Above 1 is more than the reference; the picture is cut at 2."
    spans = [(change.what, (change.low, change.ratio, change.high)) for change in found.changes]
    pictures = (("", ratios(spans, title=f"{image.name} beside {found.reference}", unit=words.times)),) if spans else ()
    heads = ("", "ratio", "99 % interval", "seen from", "verdict")
    return Figure("comparison", "Beside a reference", text, pictures, heads, tuple(map(_change, found.changes)))


def _change(change: Change) -> Cells:
    ratio, interval = f"{change.ratio:.3f}", f"{change.low:.3f} to {change.high:.3f}"
    seen = f"{change.seen_from:.2f}" if change.seen_from else "–"
    return Cells((change.what, ratio, interval, seen, change.verdict.value))


def history(line: Line) -> Figure | None:
    """An image over the reports of one place, in their order; None when there is but one. What no report has is left
    out."""
    if len(line.points) < 2:
        return None
    images, made = [point.image for point in line.points], [point.made for point in line.points]
    below = words.days(made)
    followed = {name: (say, [of(image) for image in images]) for name, (say, of) in FOLLOWED.items()}
    followed = {name: row for name, row in followed.items() if any(row[1])}
    pictures = tuple(
        (
            name,
            trend(
                values,
                title=f"{name} of {line.last.image.name} over {counted(len(made), 'report')}",
                unit=say,
                below=below,
            ),
        )
        for name, (say, values) in followed.items()
    )
    rows = [
        Cells(
            (
                str(index + 1),
                point.label,
                words.moment(point.made) or "–",
                *(say(_middle(values[index])) for say, values in followed.values()),
            )
        )
        for index, point in enumerate(line.points)
    ]
    text = "In the order in which the reports were given. The axes need not begin at 0; a gap was not measured."
    return Figure("history", "History", text, pictures, ("", "report", "made", *followed), tuple(rows))


def _least_mib(memory: Memory | None) -> float | None:
    return None if memory is None or memory.minimum_bytes is None else memory.minimum_bytes / MIB_BYTES


def _spread(summary: Summary | None) -> Values:
    return None if summary is None else (summary.min, summary.median, summary.max)


def _alone(value: float | None) -> Values:
    return None if value is None else (value, value, value)


def _middle(values: Values) -> float | None:
    return None if values is None else values[1]
