"""``imagebuilder new``: a recipe that works."""

import json
from pathlib import Path

import click

from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener
from imagebuilder.cli.names import FilePath


@click.command("new")
@click.argument("name")
@click.option("--in", "parent", type=FilePath(file_okay=False), default=Path("recipes"),
              show_default=True, help="The folder that the recipe's folder is made in.")  # fmt: skip
@click.option("--from", "image", metavar="IMAGE", help="Write the recipe of a container image: HOST/NAME:TAG of a "
              "registry, an OCI layout, or an archive of docker save.")  # fmt: skip
@click.option("--tag", help="Which image of the layout or archive, where it has several.")
@options.as_json
@options.talk
def command(
    name: str, parent: Path, image: str | None, tag: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Write recipes/NAME/ with a working recipe to start from: a commented one, or that of a container image."""
    from imagebuilder.recipe.new import new_recipe, replaced

    told: tuple[str, ...] = ()
    if image is not None:
        from imagebuilder.recipe.from_image import new_from_image

        with listener(quiet=quiet, verbose=verbose) as say:
            taken = new_from_image(name, parent, image, options.open_store(), say=say, tag=tag)
        made, told = [*taken.files], taken.lines
    elif tag is not None:
        raise click.UsageError("--tag is for --from")
    else:
        made = new_recipe(name, parent)
    if other := replaced(name, parent):
        said = f"from this folder, {name} is now {made[0].parent}, and no longer the recipe that ships in {other}"
        click.echo(f"warning: {said}", err=True)
    if as_json:
        click.echo(json.dumps({"name": name, "files": [str(path) for path in made]}, indent=1))
        return
    for path in made:
        click.echo(f"wrote {path}")
    for line in told:
        click.echo(f"  {line}")
    click.echo(f"try it: imagebuilder test {name if parent == Path('recipes') else parent / name}")
