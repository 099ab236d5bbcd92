"""``imagebuilder new``: a commented recipe that works."""

import json
from pathlib import Path

import click

from imagebuilder.cli import options
from imagebuilder.cli.names import FilePath


@click.command("new")
@click.argument("name")
@click.option("--in", "parent", type=FilePath(file_okay=False), default=Path("recipes"),
              show_default=True, help="The folder that the recipe's folder is made in.")  # fmt: skip
@options.as_json
def command(name: str, parent: Path, as_json: bool) -> None:
    """Write recipes/NAME/ with a commented, working recipe to start from."""
    from imagebuilder.recipe.new import new_recipe, replaced

    made = new_recipe(name, parent)
    if other := replaced(name, parent):
        told = f"from this folder, {name} is now {made[0].parent}, and no longer the recipe that ships in {other}"
        click.echo(f"warning: {told}", err=True)
    if as_json:
        click.echo(json.dumps({"name": name, "files": [str(path) for path in made]}, indent=1))
        return
    for path in made:
        click.echo(f"wrote {path}")
    click.echo(f"try it: imagebuilder test {name if parent == Path('recipes') else parent / name}")
