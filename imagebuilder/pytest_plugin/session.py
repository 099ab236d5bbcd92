"""What the tests of one session share: the cache, the images, the figures, the thread in which machines live."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from imagebuilder.arch import Firmware
from imagebuilder.build.outputs import Built, built, firmware_of
from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import ImagebuilderError, InputError, OutputError
from imagebuilder.events import Say, silent
from imagebuilder.images import Medium
from imagebuilder.machine.accel import Choice, choose
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.given import Given
from imagebuilder.machine.spec import MachineSpec, spec_of
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.measure.image import ImageOptions, measure
from imagebuilder.measure.report import ImageReport
from imagebuilder.paths import cache_dir
from imagebuilder.pytest_plugin.background import Background
from imagebuilder.pytest_plugin.exchange import figures_at
from imagebuilder.recipe.load import load
from imagebuilder.store import Store, as_read, key_of, sha256

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """The machine that tests run on; None is what the image expects. ``accelerator``: auto, kvm or tcg; ``firmware`` of
    disks: bios or uefi."""

    accelerator: str = "auto"
    memory_mib: int | None = None
    cpus: int | None = None
    firmware: str | None = None

    def __post_init__(self) -> None:
        for name in ("memory_mib", "cpus"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"machine: {name} is {value!r}, and a number from 1 on is expected")

    def but(self, changes: "Mapping[str, Any] | Shape | None") -> "Shape":
        """The same with some fields changed, or another one altogether. Raises InputError for an unknown field."""
        if isinstance(changes, Shape):
            return changes
        known = [each.name for each in fields(self)]
        if unknown := [name for name in changes or {} if name not in known]:
            raise InputError(f"machine: {unknown[0]!r} is not known: there are {', '.join(known)}")
        return replace(self, **(changes or {}))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of the session say. ``shared`` is a folder that all workers of the session have; ``minimum`` and
    ``initcalls`` are measured too; ``say`` hears how building and measuring go; each cold start is ``given`` this, and
    is one of a disk in the format ``format_name`` (None: of the bundle)."""

    shape: Shape
    runs: int
    out: Path
    artefacts: Path
    shared: Path
    minimum: bool = False
    initcalls: bool = False
    refresh: bool = False
    say: Say = silent
    given: Given | None = None
    format_name: str | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """What is built besides the bundle."""
        return (self.format_name,) if self.format_name else ()


@dataclass(frozen=True, slots=True)
class ImageUnderTest:
    """What is built: the recipe in a folder, on its own kernel (None) or another one, which can use so many processors
    (None: as many as the recipe says)."""

    folder: Path
    kernel: str | None = None
    cpus: int | None = None

    def build(self, store: Store, say: Say, *, refresh: bool = False, formats: tuple[str, ...] = ()) -> Build:
        """Its way to an image. Raises RecipeError, KernelError."""
        return Build(load(self.folder), store, say, refresh, self.kernel, formats=formats).able(self.cpus)


class Session:
    """Builds each image once per session, and measures each once. Raises the errors of what it does, each time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._images: dict[ImageUnderTest, Bundle | ImagebuilderError] = {}
        self._built_in: dict[Path, Built] = {}
        self._choices: dict[str, Choice] = {}
        self._background: Background | None = None
        self._cloners: dict[Path, Cloner] = {}

    @cached_property
    def store(self) -> Store:
        """The cache of this user."""
        return Store(cache_dir())

    @property
    def background(self) -> Background:
        """Where machines live."""
        self._background = self._background or Background()
        return self._background

    def image(self, subject: ImageUnderTest) -> Bundle:
        """Its image, built when something changed."""
        if subject not in self._images:
            try:
                self._images[subject] = self._built(subject)
            except ImagebuilderError as error:
                self._images[subject] = error
        found = self._images[subject]
        if isinstance(found, ImagebuilderError):
            raise found.with_traceback(None)
        return found

    def _built(self, subject: ImageUnderTest) -> Bundle:
        settings = self.settings
        build = subject.build(self.store, settings.say, refresh=settings.refresh, formats=settings.formats)
        try:
            with self.alone("image", settings.out):  # no worker writes it again while another boots it
                done = built(build, settings.out)
                self._built_in[done.bundle.folder] = done
                return done.bundle
        except OSError as error:  # the folder may not be written to, the disk is full
            raise OutputError(f"{error.filename or self.settings.out}: {error.strerror or error}") from error

    def built_anew(self, subject: ImageUnderTest, out: Path) -> Built:
        """The image once more, each step of it run again on the packages that were downloaded before."""
        steps = {step.id for step in subject.build(self.store, silent, formats=self.settings.formats).plan.steps()}
        return built(subject.build(Anew(self.store.root, steps), silent, formats=self.settings.formats), out)

    def able(self, image: Bundle, shape: Shape) -> Bundle:
        """The image, or, where its kernel cannot use the processors of that shape, the same with one that can (of an
        image that was not built here, itself)."""
        most = image.image.kernel.most_cpus
        if shape.cpus is None or most is None or shape.cpus <= most:
            return image
        subjects = [subject for subject, known in self._images.items() if known is image]
        return self.image(replace(subjects[0], cpus=shape.cpus)) if subjects else image

    def spec(self, image: Bundle, shape: Shape) -> MachineSpec:
        """The image's machine in that shape. Raises KvmUnusable, ToolMissing."""
        accelerator = self.choice(shape).accelerator
        return spec_of(
            image,
            accelerator=accelerator,
            memory_mib=shape.memory_mib,
            cpus=shape.cpus,
            medium=self.medium(image, shape),
            given=self.settings.given,
        )

    def medium(self, image: Bundle, shape: Shape) -> Medium | None:
        """What its machine starts from instead of the bundle. Raises InputError."""
        name = self.settings.format_name
        firmware = firmware_of(name, Firmware(shape.firmware) if shape.firmware else None)
        known = self._built_in.get(image.folder)
        return Medium(name, known.media[name], firmware) if name and firmware and known else None

    def files(self, image: Bundle) -> tuple[Path, ...]:
        """All that was written of an image."""
        known = self._built_in.get(image.folder)
        return known.files if known else (*image.files(), *image.documents())

    def template(self, image: Bundle, shape: Shape) -> Template:
        """The template of the image's machine in that shape, made when it is missing or stale. Raises what making it
        raises."""
        if self.medium(image, shape) is not None:
            raise InputError(
                f"{image.image.name}: a template is made of the image as its host starts it", hint="leave --format out"
            )
        wanted = Wanted(image, self.spec(image, shape))
        with self.alone("template", image.folder):
            return self.background.run(found_or_made(wanted, self.store, say=self.settings.say))

    def cloner(self, image: Bundle, shape: Shape) -> Cloner:
        """What makes clones of the image's machine in that shape, as long as the session lasts. Raises what making the
        template raises."""
        template = self.template(image, shape)
        return self._cloners.setdefault(template.folder, Cloner(template, say=self.settings.say))

    def choice(self, shape: Shape) -> Choice:
        """What runs its machines, and why. Raises KvmUnusable, ToolMissing."""
        word = shape.accelerator
        if word not in self._choices:
            self._choices[word] = choose(word, store=self.store)
        return self._choices[word]

    def figures(self, image: Bundle, shape: Shape) -> ImageReport:
        """All that is measured of an image: once, also when several workers ask for it."""
        key = key_of(
            [
                image.image.digest,
                image.image.budget.model_dump(),
                asdict(shape),
                self.settings.runs,
                self.settings.format_name,
            ]
        )
        kept = self.settings.shared / f"figures-{key[:16]}.json"
        with self.alone("figures", kept):
            return figures_at(kept, lambda: self._measured(image, shape))

    def _measured(self, image: Bundle, shape: Shape) -> ImageReport:
        return self.background.run(measure(image, self.options(image, shape), store=self.store, say=self.settings.say))

    def options(self, image: Bundle, shape: Shape) -> ImageOptions:
        """What is to be measured of an image. Raises KvmUnusable, ToolMissing."""
        accelerator, folder, settings = self.choice(shape).accelerator, self.figures_folder(image), self.settings
        return ImageOptions(
            accelerator,
            settings.runs,
            settings.minimum,
            folder,
            shape.memory_mib,
            shape.cpus,
            initcalls=settings.initcalls,
            given=settings.given,
            medium=self.medium(image, shape),
        )

    def figures_folder(self, image: Bundle) -> Path:
        """Where there is to see what went wrong while an image was measured."""
        return self.settings.artefacts / image.folder.name

    def folder_of(self, test: str) -> Path:
        """Where there is to see why a test failed."""
        name = re.sub(r"[^\w.@=-]+", "-", test).strip("-")
        short = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{sha256(name.encode())[:8]}"
        return self.settings.artefacts / short

    @contextmanager
    def alone(self, what: str, path: Path) -> Iterator[None]:
        """No other process does this at the same time."""
        with self.store.lock(key_of([what, str(path.absolute())])):
            yield

    def close(self) -> None:
        """End whatever still runs."""
        if self._background is not None:
            with ExitStack() as stack:
                stack.callback(self._background.close)
                for each in self._cloners.values():
                    stack.callback(self._background.run, each.__aexit__(None, None, None))


class Anew(Store):
    """The cache without the results of some steps: they run again, and only this object keeps their results."""

    def __init__(self, root: Path, steps: set[str]) -> None:
        super().__init__(root)
        self._steps = steps
        self._own: dict[str, dict[str, Any]] = {}

    def record(self, key: str, *, touch: bool = True) -> dict[str, Any] | None:
        """The step's result in this object; of all other steps, what the cache has."""
        return self._own.get(key) if key in self._steps else super().record(key, touch=touch)

    def keep(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Remember it here, or in the cache."""
        if key not in self._steps:
            return super().keep(key, value)
        self._own[key] = as_read(value)
        return self._own[key]
