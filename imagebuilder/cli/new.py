"""``imagebuilder new``: a commented recipe that works."""

import json
from pathlib import Path

import click

from imagebuilder.cli import options


@click.command("new")
@click.argument("name")
@click.option("--in", "parent", type=click.Path(file_okay=False, path_type=Path), default=Path("recipes"),
              show_default=True, help="The folder that the recipe's folder is made in.")  # fmt: skip
@options.as_json
def command(name: str, parent: Path, as_json: bool) -> None:
    """Write recipes/NAME/ with a commented recipe that works, to begin with."""
    from imagebuilder.recipe.new import new_recipe

    made = new_recipe(name, parent)
    if as_json:
        click.echo(json.dumps({"name": name, "files": [str(path) for path in made]}, indent=1))
        return
    for path in made:
        click.echo(f"wrote {path}")
    click.echo(f"try it: imagebuilder test {name if parent == Path('recipes') else parent / name}")
