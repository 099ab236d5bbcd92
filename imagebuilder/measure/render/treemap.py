"""A treemap as SVG: a box for each group, and in it one for each of its members, as large as its share of the whole.

Widths are percentages and heights pixels, as in ``pictures.py``, so that letters keep their size; a box is as it is
drawn for a column of ``WIDTH_PX``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from xml.etree import ElementTree as xml

from markupsafe import Markup

WIDTH_PX, HEIGHT_PX = 1030, 560
HEAD_PX, GAP_PX = 17, 1
LETTER_PX, LINE_PX = 6.4, 15
MOST_BOXES = 250
"""Of one group: the smallest of more than that share a box."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A member of a group: its name, its size, and what there is to say of it where one points at it."""

    name: str
    size: float
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group, and the class of its colour."""

    name: str
    leaves: tuple[Leaf, ...]
    colour: str

    @property
    def size(self) -> float:
        """Of all of them."""
        return sum(leaf.size for leaf in self.leaves)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float


def treemap(groups: Sequence[Group], *, title: str) -> Markup:
    """The picture. What has no size is left out."""
    root = xml.Element("svg", {"role": "img", "aria-label": title, "width": "100%", "height": str(HEIGHT_PX)})
    shown = sorted((group for group in groups if group.size), key=lambda group: (-group.size, group.name))
    boxes = cut([group.size for group in shown], Box(0, 0, WIDTH_PX, HEIGHT_PX))
    for group, box in zip(shown, boxes, strict=True):
        _group(root, group, box)
    return Markup(xml.tostring(root, encoding="unicode"))


def cut(sizes: Sequence[float], box: Box) -> list[Box]:
    """A box cut into one for each size, in their order: in two at the place that halves it best, across its longer
    side, and each part again."""
    if len(sizes) < 2:
        return [box] * len(sizes)
    whole = sum(sizes)
    before = list(accumulate(sizes[:-1]))
    place = min(range(len(before)), key=lambda index: abs(2 * before[index] - whole))
    share = before[place] / whole if whole else 0.5
    if box.width >= box.height:
        first = Box(box.x, box.y, box.width * share, box.height)
        second = Box(box.x + first.width, box.y, box.width - first.width, box.height)
    else:
        first = Box(box.x, box.y, box.width, box.height * share)
        second = Box(box.x, box.y + first.height, box.width, box.height - first.height)
    return cut(sizes[: place + 1], first) + cut(sizes[place + 1 :], second)


def gathered(leaves: Iterable[Leaf]) -> list[Leaf]:
    """The members of a group, the largest first; the smallest of very many as one."""
    found = sorted((leaf for leaf in leaves if leaf.size), key=lambda leaf: (-leaf.size, leaf.name))
    rest = found[MOST_BOXES:]
    if not rest:
        return found
    name = f"{len(rest):,} smaller ones"
    return [*found[:MOST_BOXES], Leaf(name, sum(leaf.size for leaf in rest), name)]


def _group(root: xml.Element, group: Group, box: Box) -> None:
    place = _place(root, box, "group")
    head = HEAD_PX if box.height > 2 * HEAD_PX and box.width > 6 * LETTER_PX else 0
    if head:
        _text(place, group.name, 4, 12, box.width, "label")
    leaves = gathered(group.leaves)
    inner = Box(0, head, box.width, box.height - head)
    for leaf, each in zip(leaves, cut([leaf.size for leaf in leaves], inner), strict=True):
        _leaf(place, leaf, each, box.width, group.colour)


def _leaf(parent: xml.Element, leaf: Leaf, box: Box, outer_px: float, colour: str) -> None:
    place = _place(parent, box, "leaf", outer_px)
    xml.SubElement(place, "title").text = leaf.words
    width, height = max(box.width - GAP_PX, 0.2), max(box.height - GAP_PX, 0.2)
    share = f"{100 * width / box.width:.2f}%" if box.width else "100%"
    xml.SubElement(place, "rect", {"width": share, "height": f"{height:.2f}", "class": colour})
    if box.height > LINE_PX:
        _text(place, leaf.name, 3, 11.5, box.width, "name")


def _place(parent: xml.Element, box: Box, kind: str, outer_px: float = WIDTH_PX) -> xml.Element:
    """A picture in the picture, which cuts what does not fit into it."""
    x, width = (f"{100 * value / outer_px if outer_px else 0:.3f}%" for value in (box.x, box.width))
    attributes = {"x": x, "y": f"{box.y:.2f}", "width": width, "height": f"{box.height:.2f}", "class": kind}
    return xml.SubElement(parent, "svg", attributes)


def _text(parent: xml.Element, text: str, x: float, y: float, room_px: float, kind: str) -> None:
    """As much of a text as there is room for; nothing where that would say nothing."""
    most = int((room_px - 2 * x) / LETTER_PX)
    if most >= min(len(text), 4):
        shown = text if len(text) <= most else f"{text[: most - 1]}…"
        xml.SubElement(parent, "text", {"x": str(x), "y": str(y), "class": kind}).text = shown
