"""``imagebuilder new``: a commented recipe that works."""

from pathlib import Path

import click


@click.command("new")
@click.argument("name")
@click.option("--in", "parent", type=click.Path(file_okay=False, path_type=Path), default=Path("recipes"),
              show_default=True, help="The folder that the recipe's folder is made in.")  # fmt: skip
def command(name: str, parent: Path) -> None:
    """Write recipes/NAME/ with a commented recipe that works, to begin with."""
    from imagebuilder.recipe.new import new_recipe

    for path in new_recipe(name, parent):
        click.echo(f"wrote {path}")
    click.echo(f"try it: imagebuilder test {name if parent == Path('recipes') else parent / name}")
