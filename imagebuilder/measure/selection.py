"""What is measured: images of recipes, built when something changed, and machines that files describe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.arch import Firmware
from imagebuilder.build import outputs
from imagebuilder.build.walk import Build
from imagebuilder.events import Say, silent
from imagebuilder.machine.accel import Accelerator
from imagebuilder.measure import subject
from imagebuilder.measure.subject import Subject
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images and machines: recipes by their ``names`` (or folders), each with its own kernel or with each of the
    ``kernels``, and the files of ``machines``. ``memory_mib`` replaces the recipes' memory; images stand in ``out``.
    With ``formats``, each is started from each of these, by each of the ``firmware`` that it can be started by; they
    are of one kernel, which can start them all."""

    names: Sequence[str]
    accelerator: Accelerator
    machines: Sequence[Path] = ()
    kernels: Sequence[str] = ()
    memory_mib: int | None = None
    out: Path = Path("out")
    store: Store = field(default_factory=lambda: Store(cache_dir()))
    say: Say = silent
    formats: Sequence[str] = ()
    firmware: Sequence[Firmware] = ()

    def images(self) -> list[Subject]:
        """The images of the recipes. Raises RecipeError and what building raises."""
        return self.built(self.names, self.out)

    def foreign(self) -> list[Subject]:
        """The machines that the files describe. Raises RecipeError."""
        return [subject.of_file(path, self.accelerator) for path in self.machines]

    def built(self, names: Sequence[str], out: Path) -> list[Subject]:
        """Images of other recipes, with the same kernels and memory."""
        recipes = [load(name) for name in names]
        kernels = self.kernels or (None,)
        formats = tuple(self.formats)
        builds = [
            Build(recipe, self.store, self.say, False, kernel, formats=formats)
            for recipe in recipes
            for kernel in kernels
        ]
        return [
            subject.of_bundle(bundle, self.accelerator, memory_mib=self.memory_mib, medium=medium)
            for each in builds
            for bundle, medium in outputs.media(each, out, self.firmware)
        ]
