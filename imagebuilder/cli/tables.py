"""Tables at any width of a terminal: nothing in them is ever cut.

Where there is room a table is drawn as it is; with less, cells of prose are broken between words; where that does not
suffice either, each row becomes lines of ``head: value``.
"""

from collections.abc import Iterator

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

BESIDE_CELLS, EDGE_CELLS = 3, 1  # the room and the line beside each column
PROSE_CELLS = 16  # a wider column may be broken between its words
BLOCKS = " █"


def show(console: Console, part: Table | Text) -> None:
    """Print a table, or a line."""
    if isinstance(part, Text):
        console.print(part, soft_wrap=True)
        return
    title, part.title = part.title, None
    if title:
        console.print(Text(str(title), style="italic"), soft_wrap=True)
    if _fits(console, part):
        console.print(part)
    else:
        for line in _lines(part):
            console.print(line, soft_wrap=True)


def _fits(console: Console, table: Table) -> bool:
    """Whether no word of it is broken. Columns of short cells are kept whole for that."""
    fixed, prose, longest = EDGE_CELLS, 0, 1
    for column in table.columns:
        least, most = _measured(console, column)
        column.overflow = "fold"
        if column.width is not None:
            fixed += column.width + BESIDE_CELLS
        elif most <= PROSE_CELLS or least == most:
            column.no_wrap = True
            fixed += most + BESIDE_CELLS
        else:  # rich makes those of them that are wider than others as narrow as these
            prose, longest, fixed = prose + 1, max(longest, least), fixed + BESIDE_CELLS
    return fixed + prose * longest <= console.width or _whole(console, table) <= console.width


def _measured(console: Console, column: Column) -> tuple[int, int]:
    options = console.options.update(width=1000, max_width=1000)
    found = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    return max(each.minimum for each in found), max(each.maximum for each in found)


def _whole(console: Console, table: Table) -> int:
    return EDGE_CELLS + sum((column.width or _measured(console, column)[1]) + BESIDE_CELLS for column in table.columns)


def _lines(table: Table) -> Iterator[Text]:
    """Each row in lines: the first cell that says something leads, the others stand below it."""
    for row in zip(*(tuple(column.cells) for column in table.columns), strict=True):
        cells = [(_text(column.header).plain, _text(cell)) for column, cell in zip(table.columns, row, strict=True)]
        said = [(head, text) for head, text in cells if text.plain.strip(BLOCKS)]
        signs = [text for head, text in said[:-1] if not head and len(text) == 1]
        rest = [(head, text) for head, text in said if not any(text is sign for sign in signs)]
        for number, (head, text) in enumerate(rest):
            before = Text("  " if number else "").join([Text(""), *([Text(f"{head}: ")] if head and number else [])])
            yield Text.assemble(*(Text.assemble(sign, " ") for sign in (signs if not number else [])), before, text)


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
