"""``imagebuilder list``: the recipes that are at hand."""

import json
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from imagebuilder.cli import options
from imagebuilder.cli.drawing import stdout
from imagebuilder.cli.tables import show


@click.command("list")
@options.as_json
def command(as_json: bool) -> None:
    """List the recipes that can be given by name: yours under recipes/, and those that ship."""
    from imagebuilder.recipe.lookup import names

    rows = [_row(name) for name in names()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = Table("name", "version", "what it is")
    for row in rows:
        table.add_row(*(Text(row[key] or "") for key in ("name", "version", "summary")))
    show(stdout(), table)


def _row(name: str) -> dict[str, Any]:
    from imagebuilder.errors import RecipeError
    from imagebuilder.recipe.load import load

    try:
        recipe = load(name)
    except RecipeError as error:
        return {"name": name, "version": None, "summary": f"(has mistakes) {error.problems[0]}"}
    return {"name": name, "version": recipe.version, "summary": recipe.summary}
