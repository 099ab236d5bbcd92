"""``imagebuilder lock``: write down what was chosen for a recipe, and see what would be chosen otherwise."""

import json
from typing import TYPE_CHECKING

import click

from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener
from imagebuilder.words import counted

if TYPE_CHECKING:
    from imagebuilder.build.locking import Outcome

STALE = 1


@click.command("lock")
@options.names
@click.option("--update", is_flag=True, help="Choose again: ask the mirrors for newer packages.")
@click.option("--check", is_flag=True, help="Write nothing: exit status 1 when a new choice would differ.")
@options.as_json
@options.talk
def command(names: tuple[str, ...], update: bool, check: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Write recipe.lock beside each NAME: the packages, the kernel and the init that were chosen, by version and hash.
    What fits the recipe stays; what does not is chosen again. Says what changed."""
    from imagebuilder.build.locking import locked
    from imagebuilder.recipe.load import load

    if update and check:
        raise click.UsageError("--check chooses again, and writes nothing: leave --update out")
    recipes = [load(name) for name in names]
    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        done = [locked(recipe, store, say, update=update, check=check) for recipe in recipes]
    if as_json:
        click.echo(json.dumps({"locks": [each.describe() for each in done]}, indent=1))
    else:
        for outcome in done:
            click.echo(_text(outcome))
    raise SystemExit(STALE if check and any(each.stale for each in done) else 0)


def _text(outcome: "Outcome") -> str:
    name = outcome.name
    if outcome.missing:
        packages = counted(sum(change.what == "package" for change in outcome.changes), "package")
        state = f"written: {packages}, the kernel, init" if outcome.written else "there is none"
        return f"{name}: recipe.lock: {state}"
    if not outcome.stale:
        return f"{name}: recipe.lock: as it was" if not outcome.changes else f"{name}: recipe.lock: fits"
    lines = [f"{name}: recipe.lock: {'written' if outcome.written else 'would change'}"]
    return "\n".join([*lines, *(f"  {change.text}" for change in outcome.changes)])
