"""``imagebuilder diff``: in what two images differ."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagebuilder.cli import options
from imagebuilder.cli.names import RECIPE, FilePath
from imagebuilder.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from imagebuilder.measure.difference import Change, Value

TITLES: Mapping[str, str] = {
    "image": "How they boot",
    "sizes": "Bytes",
    "packages": "Packages, and the versions of all else that the images are of",
    "files": "Files",
    "kernel": "The kernel",
    "options": "The kernel's options",
    "startup": "As they were measured",
}
DIFFERENT = 1
SHORT = 12  # characters of a digest


@click.command("diff")
@click.argument("before", type=RECIPE)
@click.argument("after", type=RECIPE)
@click.option("--files", "most", type=click.IntRange(0), default=20, show_default=True, metavar="N",
              help="Show N lines of each table at most; --json has all.")  # fmt: skip
@click.option("--report", "reports", type=FilePath(dir_okay=False), multiple=True, metavar="FILE",
              help="A report that measured one of them, as test --json writes it; repeatable.")  # fmt: skip
@click.option("--exit-code", is_flag=True, help="Exit status 1 when the images differ.")
@options.out
@options.as_json
def command(
    before: str, after: str, most: int, reports: tuple[Path, ...], exit_code: bool, out: Path, as_json: bool
) -> None:
    """Show in what two images differ that are built already, each a recipe's name or the folder of an image: packages,
    files, sizes, the kernel and its options, and how they started."""
    from imagebuilder.measure import report
    from imagebuilder.measure.difference import difference

    one, other = options.standing(before, out), options.standing(after, out)
    found = difference(one, other, reports=[report.load(path) for path in reports])
    if as_json:
        folders = {"before": str(one.folder), "after": str(other.folder)}
        click.echo(json.dumps({**folders, **found.describe()}, indent=1))
    else:
        _show(found.sections, found.notes, most, same=found.same)
    raise SystemExit(DIFFERENT if exit_code and not found.same else 0)


def _show(sections: "Mapping[str, Sequence[Change]]", notes: Sequence[str], most: int, *, same: bool) -> None:
    from imagebuilder.cli.drawing import stdout
    from imagebuilder.cli.tables import show

    console = stdout()
    for name, changes in sections.items():
        if changes:
            show(console, _table(name, changes[:most]))
            if len(changes) > most:
                console.print(f"and {len(changes) - most:,} more: --json has all of them", style="dim")
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    if same:
        console.print("The images do not differ.")


def _table(name: str, changes: "Sequence[Change]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{TITLES[name]}: {counted(len(changes), 'difference')}", title_justify="left")
    table.add_column("")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right" if name in ("sizes", "startup") else "left")
    if name in ("sizes", "startup"):
        table.add_column("", justify="right")
    for each in changes:
        cells = [Text(each.name), *(Text(_shown(value, digest=name == "files")) for value in (each.before, each.after))]
        if name in ("sizes", "startup"):
            cells.append(Text(_ratio(each)))
        table.add_row(*cells)
    return table


def _shown(value: "Value", *, digest: bool) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,}"
    return value[:SHORT] if digest else value


def _ratio(change: "Change") -> str:
    """How much more or less it became."""
    match change.before, change.after:
        case (int() | float() as before, int() | float() as after) if before:
            return f"{100 * (after / before - 1):+.1f} %"
    return ""
