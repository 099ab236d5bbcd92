"""What the tests of one session share: the cache, the images, the figures, the thread in which machines live."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from imagebuilder.builder import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import silent
from imagebuilder.machine.accel import choose
from imagebuilder.machine.spec import Accelerator, MachineSpec, spec_of
from imagebuilder.measure.image import Wish, measure
from imagebuilder.measure.report import ImageReport
from imagebuilder.paths import cache_dir
from imagebuilder.pytest_plugin.background import Background
from imagebuilder.recipe.load import load
from imagebuilder.store import Store, key_of, sha256

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """The machine that tests run on; None is what the image expects. ``accelerator``: auto, kvm or tcg."""

    accelerator: str = "auto"
    memory_mib: int | None = None
    cpus: int | None = None

    def but(self, changes: "Mapping[str, Any] | Shape | None") -> "Shape":
        """The same with some fields changed, or another one altogether."""
        return changes if isinstance(changes, Shape) else replace(self, **(changes or {}))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options of the session say. ``shared`` is a folder that all workers of the session have."""

    shape: Shape
    runs: int
    out: Path
    artefacts: Path
    shared: Path


class Workshop:
    """Builds each image once a session, and measures each once. Raises the errors of what it does, again and again."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self._images: dict[Path, Bundle | ImagebuilderError] = {}
        self._accelerators: dict[str, Accelerator] = {}
        self._background: Background | None = None

    @cached_property
    def store(self) -> Store:
        """The cache of this user."""
        return Store(cache_dir())

    @property
    def background(self) -> Background:
        """Where machines live."""
        self._background = self._background or Background()
        return self._background

    def image(self, folder: Path) -> Bundle:
        """The image of the recipe in the folder, built when something changed."""
        if folder not in self._images:
            try:
                self._images[folder] = self._built(folder)
            except ImagebuilderError as error:
                self._images[folder] = error
        found = self._images[folder]
        if isinstance(found, ImagebuilderError):
            raise found.with_traceback(None)
        return found

    def _built(self, folder: Path) -> Bundle:
        with self.alone("image", self.wishes.out):  # nobody lays it down anew while another boots it
            return Build(load(folder), self.store, silent).run(self.wishes.out)

    def built_anew(self, folder: Path, out: Path) -> Bundle:
        """The image once more, each step of it run again on the packages that were downloaded before."""
        recipe = load(folder)
        steps = {step.id for step in Build(recipe, self.store, silent).plan.steps()}
        return Build(recipe, Anew(self.store.root, steps), silent).run(out)

    def spec(self, image: Bundle, shape: Shape) -> MachineSpec:
        """The image's machine in that shape. Raises KvmUnusable, ToolMissing."""
        accelerator = self._accelerator(shape.accelerator)
        return spec_of(image, accelerator=accelerator, memory_mib=shape.memory_mib, cpus=shape.cpus)

    def _accelerator(self, word: str) -> Accelerator:
        if word not in self._accelerators:
            self._accelerators[word] = choose(word, store=self.store).accelerator
        return self._accelerators[word]

    def figures(self, folder: Path, shape: Shape) -> ImageReport:
        """All that is measured of an image: once, also when several workers ask for it."""
        image = self.image(folder)
        key = key_of([image.image.digest, image.image.budget, shape.accelerator, shape.memory_mib, self.wishes.runs])
        kept = self.wishes.shared / f"figures-{key[:16]}.json"
        with self.alone("figures", kept):
            if not kept.is_file():
                kept.write_text(self._measured(image, shape).model_dump_json(by_alias=True))
            return ImageReport.model_validate_json(kept.read_bytes())

    def _measured(self, image: Bundle, shape: Shape) -> ImageReport:
        accelerator, folder = self._accelerator(shape.accelerator), self.figures_folder(image)
        wish = Wish(accelerator, self.wishes.runs, artefacts=folder, memory_mib=shape.memory_mib)
        return self.background.run(measure(image, wish, store=self.store))

    def figures_folder(self, image: Bundle) -> Path:
        """Where there is to see what went wrong while an image was measured."""
        return self.wishes.artefacts / image.image.name

    def folder_of(self, test: str) -> Path:
        """Where there is to see why a test failed."""
        name = re.sub(r"[^\w.@=-]+", "-", test).strip("-")
        short = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{sha256(name.encode())[:8]}"
        return self.wishes.artefacts / short

    @contextmanager
    def alone(self, what: str, path: Path) -> Iterator[None]:
        """No other process does this at the same time."""
        with self.store.lock(key_of([what, str(path.absolute())])):
            yield

    def close(self) -> None:
        """End whatever still runs."""
        if self._background is not None:
            self._background.close()


class Anew(Store):
    """The cache without what some steps gave: they run again, and only this object remembers what they give."""

    def __init__(self, root: Path, steps: set[str]) -> None:
        super().__init__(root)
        self._steps = steps
        self._own: dict[str, dict[str, Any]] = {}

    def record(self, key: str) -> dict[str, Any] | None:
        """What the step gave here; of all other steps, what the cache has."""
        return self._own.get(key) if key in self._steps else super().record(key)

    def keep(self, key: str, value: Mapping[str, Any]) -> None:
        """Remember it here, or in the cache."""
        if key in self._steps:
            self._own[key] = dict(value)
        else:
            super().keep(key, value)
