"""Pictures as SVG to stand in a page. Widths are percentages and heights pixels, so that a picture fills its column and
its letters keep their size on a narrow screen. Colours are classes of the page's style sheet (``c0`` to ``c8``).

All text goes through ElementTree, which escapes it: no text of a report becomes markup.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as xml

from markupsafe import Markup

from imagebuilder.measure.render.words import Scale
from imagebuilder.measure.statistics import Summary

COLOURS = 9
LABEL_CHARACTERS = 34
ROW_PX, BAR_PX, LABEL_PX = 40, 14, 14
AXIS_PX = 22
RATIO_PX = 30
RATIOS = (0.4, 2.0)
EDGE_PERCENT = {"tick": 12, "value": 22, "label": 12}  # text that is nearer to an edge does not fit around its place
DOT_PX, LEVELS = 4, 5
NEAR_PERCENT = 2.2  # dots that are closer than this share of the width are put beside each other
TREND_PX, TREND_LEFT_PERCENT = 130, 20  # what is left of the line is for the words of its axis


@dataclass(frozen=True, slots=True)
class Piece:
    """A coloured part of a bar."""

    name: str
    amount: float
    colour: str


@dataclass(frozen=True, slots=True)
class Row:
    """A bar: its label and value above it, its pieces from ``begin`` on, and a whisker from ``low`` to ``high``. A row
    without pieces has no bar: it was not measured."""

    label: str
    said: str
    pieces: tuple[Piece, ...] = ()
    begin: float = 0
    whisker: tuple[float, float] | None = None

    @property
    def end(self) -> float:
        """Where it ends on the axis."""
        return max(self.begin + sum(piece.amount for piece in self.pieces), *(self.whisker or (0,)), 0)


def colour(index: int) -> str:
    """The class of the colour number ``index``."""
    return f"c{index % COLOURS}"


def bars(rows: Sequence[Row], *, title: str, unit: Scale) -> Markup:
    """Bars below each other on one axis that begins at 0."""
    most = max((row.end for row in rows), default=0) or 1
    height = len(rows) * ROW_PX + AXIS_PX
    root = _picture(title, height)
    _axis(root, ticks(0, most), lambda at: _share(at, 0, most), height, unit)
    for index, row in enumerate(rows):
        _bar(root, row, index * ROW_PX, most, unit)
    return _markup(root)


def strip(summary: Summary, *, title: str, interval: tuple[float, float], unit: Scale) -> Markup:
    """Every sample as a dot, over a band for the interval and a line for the median. The axis need not begin at 0."""
    low, high = _padded(min(summary.min, interval[0]), max(summary.max, interval[1]))
    middle = LABEL_PX + 12 + (LEVELS // 2) * 2 * DOT_PX
    height = 2 * middle - LABEL_PX + AXIS_PX
    root = _picture(title, height)
    _axis(root, ticks(low, high, 4), lambda at: _share(at, low, high), height, unit)
    left, right = (_share(bound, low, high) for bound in interval)
    span = {"x": _percent(left), "width": _percent(max(right - left, 0.2))}
    _add(
        root, "rect", **{"class": "band", "y": str(LABEL_PX + 6), "height": str(2 * middle - 2 * LABEL_PX - 12)}, **span
    )
    at = _share(summary.median, low, high)
    _vertical(root, at, LABEL_PX + 4, 2 * middle - LABEL_PX - 4, "median")
    _text(root, at, LABEL_PX - 2, f"median {unit(summary.median)}", kind="value")
    shares = [_share(sample, low, high) for sample in summary.samples]
    for run, (sample, share, level) in enumerate(zip(summary.samples, shares, levels(shares), strict=True), 1):
        dot = _add(root, "circle", cx=_percent(share), cy=str(middle + level * 2 * DOT_PX), r=str(DOT_PX))
        dot.set("class", "dot")
        _add(dot, "title").text = f"run {run}: {unit(sample)}"
    return _markup(root)


def trend(
    values: Sequence[tuple[float, float, float] | None], *, title: str, unit: Scale, below: Sequence[str]
) -> Markup:
    """A line over several reports: (low, value, high) of each, None where it was not measured, which leaves a gap.
    ``below`` is what stands under each."""
    known = [value for value in values if value is not None]
    low, high = _padded(min(each[0] for each in known), max(each[2] for each in known)) if known else (0.0, 1.0)
    root = _picture(title, TREND_PX)

    def height_of(value: float) -> float:
        return 16 + (TREND_PX - 36) * (1 - (value - low) / (high - low))

    for at in ticks(low, high, 3):
        y = height_of(at)
        _add(root, "line", x1="0%", x2="100%", y1=f"{y:.1f}", y2=f"{y:.1f}", **{"class": "grid"})
        _text(root, 0, y - 3, unit.at(at), kind="tick")
    width = (100 - TREND_LEFT_PERCENT) / len(values)
    points = [(TREND_LEFT_PERCENT + width * (index + 0.5), value) for index, value in enumerate(values)]
    for (x, here), (next_x, there) in pairwise(points):
        if here and there:
            ends = {"y1": f"{height_of(here[1]):.1f}", "y2": f"{height_of(there[1]):.1f}"}
            _add(root, "line", x1=_percent(x), x2=_percent(next_x), **ends, **{"class": "trend"})
    for name, (x, each) in zip(below, points, strict=True):
        if each:
            _vertical(root, x, height_of(each[2]), height_of(each[0]), "whisker")
            dot = _add(root, "circle", cx=_percent(x), cy=f"{height_of(each[1]):.1f}", r=str(DOT_PX))
            dot.set("class", "dot")
            _add(dot, "title").text = f"{name}: {unit(each[1])}"
        _text(root, x, TREND_PX - 2, name, kind="tick", anchor="middle")
    return _markup(root)


def ratios(spans: Sequence[tuple[str, tuple[float, float, float]]], *, title: str, unit: Scale) -> Markup:
    """For each name a dot on its interval (low, value, high), all on one axis with a line at 1: no change. What goes
    beyond ``RATIOS`` is cut."""
    low, high = _padded(min(1, *(span[0] for _, span in spans)), max(1, *(span[2] for _, span in spans)))
    low, high = max(low, RATIOS[0]), min(high, RATIOS[1])
    height = len(spans) * RATIO_PX + AXIS_PX
    root = _picture(title, height)
    _axis(root, ticks(low, high, 4), lambda at: _share(at, low, high), height, unit)
    _vertical(root, _share(1, low, high), 0, height - AXIS_PX + 4, "median")
    for index, (name, span) in enumerate(spans):
        y = index * RATIO_PX + LABEL_PX + 6
        left, middle, right = (_share(bound, low, high) for bound in span)
        _text(root, 0, y - 8, shortened(name), kind="label", anchor="start")
        _add(root, "line", x1=_percent(left), x2=_percent(right), y1=str(y), y2=str(y), **{"class": "whisker"})
        if low <= span[1] <= high:
            dot = _add(root, "circle", cx=_percent(middle), cy=str(y), r=str(DOT_PX), **{"class": "dot"})
            _add(dot, "title").text = f"{name}: {span[1]:.3f} ({span[0]:.3f} to {span[2]:.3f})"
    return _markup(root)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between two, about as many as wanted."""
    rough = (high - low) / wanted
    if not rough > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def levels(shares: Sequence[float]) -> list[int]:
    """How far from the middle each dot goes (0, 1, -1, 2, -2), so that those close together do not overlap."""
    last: dict[int, float] = {}
    found = [0] * len(shares)
    order = [(step + 1) // 2 * (1 if step % 2 else -1) for step in range(LEVELS)]
    for index in sorted(range(len(shares)), key=lambda index: shares[index]):
        free = (level for level in order if shares[index] - last.get(level, -math.inf) >= NEAR_PERCENT)
        level = next(free, min(order, key=lambda level: last.get(level, -math.inf)))
        found[index], last[level] = level, shares[index]
    return found


def shortened(label: str) -> str:
    """A label that fits above a bar; the table beside the picture has all of it."""
    return label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"


def _bar(root: xml.Element, row: Row, top: int, most: float, unit: Scale) -> None:
    _text(root, 0, top + LABEL_PX - 2, shortened(row.label), kind="label", anchor="start")
    _text(root, 100, top + LABEL_PX - 2, row.said, kind="value", anchor="end")
    y = str(top + LABEL_PX + 4)
    _add(root, "rect", x="0%", width="100%", y=y, height=str(BAR_PX), rx="3", **{"class": "track"})
    begin = row.begin
    for piece in row.pieces:
        left, right = _share(begin, 0, most), _share(begin + piece.amount, 0, most)
        width = _percent(max(right - left, 0.3))
        bar = _add(root, "rect", x=_percent(min(left, 99.7)), width=width, y=y, height=str(BAR_PX), rx="2")
        bar.set("class", piece.colour)
        _add(bar, "title").text = f"{piece.name}: {unit(piece.amount)}"
        begin += piece.amount
    if row.whisker:
        middle = top + LABEL_PX + 4 + BAR_PX / 2
        ends = {"x1": _percent(_share(row.whisker[0], 0, most)), "x2": _percent(_share(row.whisker[1], 0, most))}
        _add(root, "line", y1=f"{middle}", y2=f"{middle}", **ends, **{"class": "whisker"})


def _axis(root: xml.Element, at: Iterable[float], share: Callable[[float], float], height: int, unit: Scale) -> None:
    for value in at:
        _vertical(root, share(value), 0, height - AXIS_PX + 4, "grid")
        _text(root, share(value), height - 5, unit.at(value), kind="tick")


def _text(root: xml.Element, x: float, y: float, text: str, *, kind: str, anchor: str | None = None) -> None:
    """Text at ``x`` percent; near an edge it grows away from it."""
    edge = EDGE_PERCENT[kind]
    anchor = anchor or ("start" if x < edge else "end" if x > 100 - edge else "middle")
    _add(root, "text", x=_percent(x), y=f"{y:.1f}", **{"class": kind, "text-anchor": anchor}).text = text


def _vertical(root: xml.Element, x: float, top: float, bottom: float, kind: str) -> None:
    _add(root, "line", x1=_percent(x), x2=_percent(x), y1=f"{top:.1f}", y2=f"{bottom:.1f}", **{"class": kind})


def _picture(title: str, height: int) -> xml.Element:
    return xml.Element("svg", {"role": "img", "aria-label": title, "width": "100%", "height": str(height)})


def _add(parent: xml.Element, tag: str, **attributes: str) -> xml.Element:
    return xml.SubElement(parent, tag, attributes)


def _markup(root: xml.Element) -> Markup:
    return Markup(xml.tostring(root, encoding="unicode"))


def _share(value: float, low: float, high: float) -> float:
    return min(max(100 * (value - low) / (high - low), 0), 100)


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _padded(low: float, high: float) -> tuple[float, float]:
    """A little room on both sides, also where all is the same."""
    room = (high - low) * 0.08 or abs(high) * 0.05 or 1
    return max(low - room, 0) if low >= 0 else low - room, high + room
