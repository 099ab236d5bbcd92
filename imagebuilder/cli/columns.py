"""Tables that fit a terminal: what matters less is left out, by name, before anything is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

BETWEEN_CELLS, EDGE_CELLS = 3, 1  # what the lines of a table and the room beside them take


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, and a cell for each row. Where there is too little room, those of the highest ``rank`` are
    left out first, and those of rank 0 never. One without a figure in it is never shown."""

    head: str
    cells: Sequence[Text | str]
    rank: int = 0
    left: bool = False

    def width(self, *, roomy: bool) -> int:
        """So wide that no cell is cut, and the head breaks between its words; or not at all, where it is ``roomy``."""
        heads = [self.head] if roomy else self.head.split()
        return max(len(text) for text in (*heads, *self.cells))

    @property
    def said(self) -> bool:
        """Whether it says anything."""
        return any(str(cell) not in ("", "–") for cell in self.cells)


def draw(console: Console, title: str, columns: Sequence[Column]) -> None:
    """Print a table as wide as there is room, and what was left out for that."""
    known = [column for column in columns if column.said or column.rank == 0]
    shown = list(known)
    while _width(shown, roomy=False) > console.width and any(column.rank for column in shown):
        shown.remove(max(shown, key=lambda column: column.rank))
    roomy = _width(shown, roomy=True) <= console.width
    table = Table(title=Text(title), title_justify="left")
    for column in shown:
        side: Literal["left", "right"] = "left" if column.left else "right"
        table.add_column(column.head, justify=side, width=column.width(roomy=roomy), overflow="fold")
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    console.print(table)
    if left_out := [column.head for column in known if column not in shown]:
        told = f"no room here for {', '.join(left_out)}: a wider terminal shows them, and --json FILE has them"
        console.print(Text(told, style="dim"))


def _width(columns: Sequence[Column], *, roomy: bool) -> int:
    return sum(column.width(roomy=roomy) + BETWEEN_CELLS for column in columns) + EDGE_CELLS
