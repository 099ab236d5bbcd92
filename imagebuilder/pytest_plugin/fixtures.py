"""The fixtures. Nothing is imported here that costs time: pytest reads this module in every session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from imagebuilder.bundle import Bundle
    from imagebuilder.events import Say
    from imagebuilder.measure.report import ImageReport
    from imagebuilder.pytest_plugin.course import Course
    from imagebuilder.pytest_plugin.running import Probe, Running
    from imagebuilder.pytest_plugin.workshop import Shape, Subject, Workshop

RECIPE = "recipe.toml"


@dataclass(slots=True)
class Traces:
    """What a test leaves: when it fails its machines, and folders that were written already; and always what was
    measured, or answered, as far as it asked for that."""

    folder: Path
    running: "list[Running]" = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    course: "Course | None" = None
    measured: dict[str, Any] | None = None
    answer: tuple[str, str] | None = None

    def machines(self) -> "list[Running]":
        """Its own, and the one that tests share."""
        return [*self.running, *([self.course.running] if self.course and self.course.running else [])]


TRACES = pytest.StashKey[Traces]()
SAY: "pytest.StashKey[Say]" = pytest.StashKey()


class InstanceFactory(Protocol):
    """Starts machines; they are gone when the test ends, however it ends."""

    def __call__(
        self,
        image: "Bundle | None" = None,
        *,
        machine: "Shape | dict[str, Any] | None" = None,
        ready: bool = True,
        template: bool = False,
        on_console: Callable[[bytes], None] | None = None,
    ) -> "Running":
        """Start the image under test, or another one, in the machine of the test, or another or changed one; with
        ``ready`` wait for its first answer, with ``template`` clone it (the template is made when needed). Raises
        NotReady, GuestFailed, MachineError."""


@pytest.fixture(scope="session")
def imagebuilder_workshop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Workshop]":
    """What the tests of the session share. Tests of recipes need it seldom."""
    from imagebuilder.events import silent
    from imagebuilder.pytest_plugin.workshop import Shape, Wishes, Workshop

    option, here = request.config.getoption, request.config.invocation_params.dir
    base, worker = tmp_path_factory.getbasetemp(), hasattr(request.config, "workerinput")
    out = here / option("--ib-out")
    wishes = Wishes(
        Shape(option("--ib-accel"), option("--ib-memory"), option("--ib-cpus")),
        option("--ib-runs"),
        out,
        here / option("--ib-artefacts") if option("--ib-artefacts") else out / "artefacts",
        base.parent if worker else base,
        option("--ib-min-memory"),
        option("--ib-initcalls"),
        option("--ib-refresh"),
        request.config.stash.get(SAY, silent),
    )
    workshop = Workshop(wishes)
    try:
        yield workshop
    finally:
        workshop.close()


@pytest.fixture
def recipe_folder(request: pytest.FixtureRequest) -> Path:
    """The recipe under test: that of the marker ``recipe("NAME")``, else the one beside the test or above it, else
    ``--ib-recipe``."""
    from imagebuilder.recipe.finding import find

    marker = request.node.get_closest_marker("recipe")
    if marker is not None:
        return find(marker.args[0])
    top = request.config.rootpath
    for folder in (request.path.parent, *request.path.parent.parents):
        if (folder / RECIPE).is_file():
            return folder
        if folder == top:
            break
    named = request.config.getoption("--ib-recipe")
    if named is None:
        pytest.fail(
            f"no {RECIPE} beside this test: mark it with @pytest.mark.recipe(NAME), or give --ib-recipe", pytrace=False
        )
    return find(named)


@pytest.fixture(scope="module")
def kernel() -> str | None:
    """Another kernel than the recipe's: each of ``--ib-kernel`` in turn."""
    return None


@pytest.fixture
def image(recipe_folder: Path, kernel: str | None, imagebuilder_workshop: "Workshop") -> "Bundle":
    """The built image of the recipe under test."""
    from imagebuilder.pytest_plugin.workshop import Subject

    return imagebuilder_workshop.image(Subject(recipe_folder, kernel))


@pytest.fixture
def machine(request: pytest.FixtureRequest, imagebuilder_workshop: "Workshop") -> "Shape":
    """The machine: that of the options, with what the test changes by
    ``parametrize("machine", [{"memory_mib": 64}], indirect=True)``."""
    return imagebuilder_workshop.wishes.shape.but(getattr(request, "param", None))


@pytest.fixture
def instance_factory(
    request: pytest.FixtureRequest, kernel: str | None, imagebuilder_workshop: "Workshop"
) -> Iterator[InstanceFactory]:
    """Starts as many machines as a test needs; on each ``kernel``."""
    from imagebuilder.pytest_plugin.running import Running

    traces = _traces(request, imagebuilder_workshop)
    with ExitStack() as stack:

        def start(
            image: "Bundle | None" = None,
            *,
            machine: "Shape | dict[str, Any] | None" = None,
            ready: bool = True,
            template: bool = False,
            on_console: Callable[[bytes], None] | None = None,
        ) -> "Running":
            __tracebackhide__ = True
            shape: Shape = request.getfixturevalue("machine").but(machine)
            booted: Bundle = request.getfixturevalue("image") if image is None else image
            booted = imagebuilder_workshop.able(booted, shape)
            spec = imagebuilder_workshop.spec(booted, shape)
            cloner = imagebuilder_workshop.cloner(booted, shape) if template else None
            running = Running(imagebuilder_workshop.background, booted, spec=spec, on_console=on_console, cloner=cloner)
            traces.running.append(stack.enter_context(running))
            if ready:
                running.wait_ready()
            return running

        yield start


@pytest.fixture
def instance(image: "Bundle", machine: "Shape", instance_factory: InstanceFactory) -> "Running":
    """The image under test, booted and ready."""
    return instance_factory(image, machine=machine)


@pytest.fixture
def probe(instance: "Running", imagebuilder_workshop: "Workshop") -> "Probe":
    """Asks the instance: ``probe.get("/")``, ``probe.tcp(b"PING\\r\\n")``."""
    from imagebuilder.pytest_plugin.running import Probe

    return Probe(instance, imagebuilder_workshop.background)


@pytest.fixture
def figures(
    request: pytest.FixtureRequest,
    image: "Bundle",
    machine: "Shape",
    recipe_folder: Path,
    kernel: str | None,
    imagebuilder_workshop: "Workshop",
) -> "ImageReport":
    """All that is measured of the image, as a report has it; once per session."""
    from imagebuilder.pytest_plugin.workshop import Subject

    found = imagebuilder_workshop.figures(imagebuilder_workshop.able(image, machine), machine)
    if not all(check.holds for check in found.checks):
        _traces(request, imagebuilder_workshop).folders.append(imagebuilder_workshop.figures_folder(image))
    return _kept(found, request, Subject(recipe_folder, kernel), machine, imagebuilder_workshop)


@pytest.fixture(scope="module")
def imagebuilder_course(
    request: pytest.FixtureRequest, kernel: str | None, imagebuilder_workshop: "Workshop"
) -> "Iterator[Course]":
    """What the generated tests of one image share."""
    from imagebuilder.pytest_plugin.course import Course
    from imagebuilder.pytest_plugin.workshop import Subject

    shape = imagebuilder_workshop.wishes.shape
    made = Course(imagebuilder_workshop, Subject(request.path.parent, kernel, shape.cpus), shape)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def course(
    request: pytest.FixtureRequest, imagebuilder_course: "Course", imagebuilder_workshop: "Workshop"
) -> "Course":
    """The way of an image, as far as the tests before this one have gone."""
    _traces(request, imagebuilder_workshop).course = imagebuilder_course
    imagebuilder_course.enter(request.node.nodeid)
    return imagebuilder_course


@pytest.fixture
def course_figures(
    request: pytest.FixtureRequest, course: "Course", imagebuilder_workshop: "Workshop"
) -> "ImageReport":
    """What is measured of the image, or why nothing is."""
    shape = imagebuilder_workshop.wishes.shape
    return _kept(course.figures(), request, course.subject, shape, imagebuilder_workshop)


def _kept(
    figures: "ImageReport", request: pytest.FixtureRequest, subject: "Subject", shape: "Shape", workshop: "Workshop"
) -> "ImageReport":
    """The figures, noted for the report of the session."""
    choice, node = workshop.choice(shape), request.node
    _traces(request, workshop).measured = {
        "of": [str(subject.folder), subject.kernel, repr(shape)],
        "order": node.session.items.index(node),
        "accelerator": choice.accelerator.value,
        "why": choice.why,
        "image": figures.model_dump(mode="json", by_alias=True),
    }
    return figures


def _traces(request: pytest.FixtureRequest, workshop: "Workshop") -> Traces:
    node: pytest.Item = request.node
    if TRACES not in node.stash:
        node.stash[TRACES] = Traces(workshop.folder_of(node.nodeid))
    return node.stash[TRACES]
