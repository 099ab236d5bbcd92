"""``imagebuilder learn``: see which pages of an image's files its start uses, so that just these are read ahead."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener
from imagebuilder.recipe.lookup import FILE
from imagebuilder.words import counted

if TYPE_CHECKING:
    from imagebuilder.measure.learned import Learned


@click.command("learn")
@options.names
@options.accel
@options.out
@options.as_json
@options.talk
def command(names: tuple[str, ...], accel: str, out: Path, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Start each NAME once, see which pages of its program and libraries are used until it is ready, and write them
    down beside its recipe. Images of a recipe with root.pages have just these read ahead from their disk."""
    from imagebuilder.machine.accel import choose
    from imagebuilder.measure.learned import learned

    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        accelerator = choose(accel, store=store).accelerator
        made = [learned(name, accelerator, out=out, store=store, say=say, run=signals.run) for name in names]
    click.echo(json.dumps([each.describe() for each in made], indent=1) if as_json else "\n".join(map(_text, made)))


def _text(made: "Learned") -> str:
    are = "is" if made.used_pages == 1 else "are"
    used = f"{counted(made.used_pages, 'page')} of {counted(len(made.pages.files), 'file')} {are} used"
    read = f"{made.pages.page_count:,} will be read, in {counted(made.pages.range_count, 'part')}"
    line = f"{_from_here(made.file)}: {used}; {read}"
    if made.recipe.root.pages:
        return line
    file = _from_here(made.recipe.folder / FILE)
    return f'{line}\nto have them read ahead, write pages = "{made.file.name}" under [root] of {file}'


def _from_here(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
