"""A figure: a picture and the table beside it."""

from dataclasses import dataclass

from markupsafe import Markup


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
