"""``imagebuilder learn``: see which pages of an image's files its start uses, so that just these are read ahead."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener
from imagebuilder.errors import InputError
from imagebuilder.events import Say, step
from imagebuilder.machine.accel import Accelerator, choose
from imagebuilder.recipe.finding import FILE
from imagebuilder.words import counted

if TYPE_CHECKING:
    from imagebuilder.bundle import Bundle
    from imagebuilder.pages import PageList
    from imagebuilder.recipe.model import Recipe

USUAL = "pages.json"


@dataclass(frozen=True)
class Learned:
    """A list that was written: what was in memory, and what will be read ahead instead."""

    recipe: "Recipe"
    file: Path
    used_pages: int
    pages: "PageList"

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"used_pages": self.used_pages, "pages": self.pages.page_count, "parts": self.pages.range_count}
        return {"name": self.recipe.name, "file": str(self.file), "files": len(self.pages.files), **counts}

    @property
    def text(self) -> str:
        """In words."""
        are = "is" if self.used_pages == 1 else "are"
        used = f"{counted(self.used_pages, 'page')} of {counted(len(self.pages.files), 'file')} {are} used"
        read = f"{self.pages.page_count:,} will be read, in {counted(self.pages.range_count, 'part')}"
        line = f"{_from_here(self.file)}: {used}; {read}"
        if self.recipe.root.pages:
            return line
        file = _from_here(self.recipe.folder / FILE)
        return f'{line}\nto have them read ahead, write pages = "{USUAL}" under [root] of {file}'


def _from_here(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


@click.command("learn")
@options.names
@options.accel
@options.out
@options.as_json
@options.talk
def command(names: tuple[str, ...], accel: str, out: Path, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Start each NAME once, see which pages of its program and libraries are used until it is ready, and write them
    down beside its recipe. Images of a recipe with root.pages have just these read ahead from their disk."""
    with listener(quiet=quiet, verbose=verbose) as say:
        accelerator = choose(accel, store=options.open_store()).accelerator
        made = [_learned(name, accelerator, out, say) for name in names]
    click.echo(json.dumps([each.describe() for each in made], indent=1) if as_json else _texts(made))


def _texts(made: list[Learned]) -> str:
    return "\n".join(each.text for each in made)


def _learned(name: str, accelerator: Accelerator, out: Path, say: Say) -> Learned:
    """Write the list of one recipe, and build its image with it."""
    from imagebuilder import pages
    from imagebuilder.builder import Build
    from imagebuilder.machine.spec import spec_of
    from imagebuilder.measure.learning import learn
    from imagebuilder.recipe.load import load

    recipe, store = load(name), options.open_store()
    build = Build(_without_list(recipe), store, say)
    with store.scratch() as scratch:
        bundle = build.run(scratch)
        _check(recipe, bundle)
        with step(say, f"learn {recipe.name}", f"see which pages {recipe.name} uses"):
            found = signals.run(learn(spec_of(bundle, accelerator=accelerator), recipe.ready))
    made = pages.learned(build.root, build.ahead_paths, found)
    file = recipe.folder / (recipe.root.pages or USUAL)
    pages.write(made, file)
    if recipe.root.pages:
        options.built(name, out, kernel=None, say=say)
    return Learned(recipe, file, sum(count for ranges in found.values() for _, count in ranges), made)


def _without_list(recipe: "Recipe") -> "Recipe":
    """The recipe as if it had no list yet: the one that it has may be damaged, or of another image."""
    return recipe.model_copy(update={"root": recipe.root.model_copy(update={"pages": None})})


def _check(recipe: "Recipe", bundle: "Bundle") -> None:
    """Raises InputError for an image of which nothing can be learned."""
    if not bundle.image.root.is_disk:
        hint = 'root.format = "erofs" makes it a disk'
        raise InputError(f"{recipe.name} has its root in memory: there is no disk to read ahead from", hint=hint)
    if recipe.ready.exit is not None:
        raise InputError(f"{recipe.name} has ended when it is ready: it cannot be asked any more which pages it used")
