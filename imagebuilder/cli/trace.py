"""``imagebuilder trace``: see which files an application opens, so that its image keeps just these."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener
from imagebuilder.cli.given import given as options_given
from imagebuilder.cli.given import variables
from imagebuilder.recipe.lookup import FILE
from imagebuilder.words import counted

if TYPE_CHECKING:
    from imagebuilder.measure.tracing import Traced


@click.command("trace")
@options.name
@options.accel
@options_given
@click.option("--why", "path", metavar="PATH", help="Only say which programs opened PATH, by the list that is there.")
@options.as_json
@options.talk
def command(
    name: str,
    accel: str,
    environment: tuple[tuple[str, str], ...],
    env_file: Path | None,
    secrets: tuple[tuple[str, Path], ...],
    path: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Start NAME once with all that its sources have, see which files are opened until it is ready and has answered
    what warms it up, and write them down beside its recipe. Images of a recipe with root.keep have just these of
    sources that are slimmed, with their libraries and interpreters."""
    if path is not None:
        click.echo(_why(name, path))
        return
    from imagebuilder.machine.accel import choose
    from imagebuilder.machine.given import Given, read_secrets
    from imagebuilder.measure.tracing import traced

    store = options.open_store()
    gift = Given(variables(environment, env_file), secrets=read_secrets(dict(secrets)))
    with listener(quiet=quiet, verbose=verbose) as say:
        accelerator = choose(accel, store=store).accelerator
        made = traced(name, accelerator, given=gift or None, store=store, say=say, run=signals.run)
    click.echo(json.dumps(made.describe(), indent=1) if as_json else _text(made))


def _text(made: "Traced") -> str:
    line = f"{_from_here(made.file)}: {len(made.found.files):,} of {counted(made.source_files, 'path')} are opened"
    if made.recipe.root.keep:
        return line
    file = _from_here(made.recipe.folder / FILE)
    return f'{line}\nto keep just these, write keep = "{made.file.name}" under [root] of {file}'


def _why(name: str, path: str) -> str:
    from imagebuilder import keep
    from imagebuilder.measure.tracing import USUAL
    from imagebuilder.recipe.load import load

    recipe = load(name)
    file = recipe.folder / (recipe.root.keep or USUAL)
    reasons = keep.read(file, hint=keep.trace_hint(name)).reasons
    return f"{path}: {reasons.get(path, 'nobody was seen to open it')}"


def _from_here(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
