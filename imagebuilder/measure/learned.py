"""``imagebuilder learn`` from Python: a list of pages is learned from a start, and written beside its recipe."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import pages
from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError
from imagebuilder.events import Say, silent, step
from imagebuilder.machine.accel import Accelerator
from imagebuilder.machine.spec import spec_of
from imagebuilder.measure.bench import Run
from imagebuilder.measure.learning import learn
from imagebuilder.pages import PageList
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.store import Store

USUAL = "pages.json"


@dataclass(frozen=True, slots=True)
class Learned:
    """A list that was written: how many pages were in memory, and which will be read ahead instead."""

    recipe: Recipe
    file: Path
    used_pages: int
    pages: PageList

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"used_pages": self.used_pages, "pages": self.pages.page_count, "parts": self.pages.range_count}
        return {"name": self.recipe.name, "file": str(self.file), "files": len(self.pages.files), **counts}


def learned(
    name: str | Path,
    accelerator: Accelerator,
    *,
    out: Path = Path("out"),
    store: Store | None = None,
    say: Say = silent,
    run: Run = asyncio.run,
) -> Learned:
    """Start a recipe's image once, and write the list of the pages that it uses; an image of a recipe with
    ``root.pages`` is built with it, into ``out``. Raises InputError for one of which nothing can be learned, and what
    building and starting raise."""
    recipe, store = load(name), store or Store(cache_dir())
    build = Build(_without_list(recipe), store, say)
    with store.scratch() as scratch:
        bundle = build.run(scratch)
        _check(recipe, bundle)
        with step(say, f"learn {recipe.name}", f"see which pages {recipe.name} uses"):
            found = run(learn(spec_of(bundle, accelerator=accelerator), bundle.ready))
    made = pages.learned(build.root, build.ahead_paths, found, build.planner.platform.most_ahead)
    file = recipe.folder / (recipe.root.pages or USUAL)
    pages.write(made, file)
    if recipe.root.pages:
        Build(load(name), store, say).run(out)
    return Learned(recipe, file, sum(count for ranges in found.values() for _, count in ranges), made)


def _without_list(recipe: Recipe) -> Recipe:
    """The recipe as if it had no list yet: the one that it has may be damaged, or of another image."""
    return recipe.model_copy(update={"root": recipe.root.model_copy(update={"pages": None})})


def _check(recipe: Recipe, bundle: Bundle) -> None:
    if not bundle.image.root.is_disk:
        hint = 'root.format = "erofs" makes it a disk'
        raise InputError(f"{recipe.name} has its root in memory: there is no disk to read ahead from", hint=hint)
    if bundle.ready.exit is not None:
        raise InputError(f"{recipe.name} has ended when it is ready: it cannot be asked any more which pages it used")
