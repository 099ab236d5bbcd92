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
    from imagebuilder.pytest_plugin.boot_sequence import BootSequence
    from imagebuilder.pytest_plugin.exchange import Measured
    from imagebuilder.pytest_plugin.running import Probe, Running
    from imagebuilder.pytest_plugin.session import ImageUnderTest, Session, Shape

RECIPE = "recipe.toml"


@dataclass(slots=True)
class Traces:
    """What a test leaves: when it fails its machines, and folders that were written already; and always what was
    measured, or answered, as far as it asked for that."""

    folder: Path
    running: "list[Running]" = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    boot_sequence: "BootSequence | None" = None
    measured: "Measured | None" = None
    answer: tuple[str, str] | None = None

    def machines(self) -> "list[Running]":
        """Its own, and the one that tests share."""
        return [
            *self.running,
            *([self.boot_sequence.running] if self.boot_sequence and self.boot_sequence.running else []),
        ]


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
def imagebuilder_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Session]":
    """What the tests of the session share. Tests of recipes need it seldom."""
    from imagebuilder.events import silent
    from imagebuilder.machine.given import given_by
    from imagebuilder.pytest_plugin.session import Session, Settings, Shape

    option, here = request.config.getoption, request.config.invocation_params.dir
    base, worker = tmp_path_factory.getbasetemp(), hasattr(request.config, "workerinput")
    out = here / option("--ib-out")
    settings = Settings(
        Shape(option("--ib-accel"), option("--ib-memory"), option("--ib-cpus"), option("--ib-firmware")),
        option("--ib-runs"),
        out,
        here / option("--ib-artefacts") if option("--ib-artefacts") else out / "artefacts",
        base.parent if worker else base,
        option("--ib-min-memory"),
        option("--ib-initcalls"),
        option("--ib-refresh"),
        request.config.stash.get(SAY, silent),
        given_by(option("--ib-env") or (), option("--ib-env-file"), option("--ib-secret") or (), here),
        option("--ib-format"),
    )
    session = Session(settings)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def recipe_folder(request: pytest.FixtureRequest) -> Path:
    """The recipe under test: that of the marker ``recipe("NAME")``, else the one beside the test or above it, else
    ``--ib-recipe``."""
    from imagebuilder.recipe.lookup import find

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
def image(recipe_folder: Path, kernel: str | None, imagebuilder_session: "Session") -> "Bundle":
    """The built image of the recipe under test."""
    from imagebuilder.pytest_plugin.session import ImageUnderTest

    return imagebuilder_session.image(ImageUnderTest(recipe_folder, kernel))


@pytest.fixture
def machine(request: pytest.FixtureRequest, imagebuilder_session: "Session") -> "Shape":
    """The machine: that of the options, with what the test changes by
    ``parametrize("machine", [{"memory_mib": 64}], indirect=True)``."""
    return imagebuilder_session.settings.shape.but(getattr(request, "param", None))


@pytest.fixture
def instance_factory(
    request: pytest.FixtureRequest, kernel: str | None, imagebuilder_session: "Session"
) -> Iterator[InstanceFactory]:
    """Starts as many machines as a test needs; on each ``kernel``."""
    from imagebuilder.pytest_plugin.running import Running

    traces = _traces(request, imagebuilder_session)
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
            booted = imagebuilder_session.able(booted, shape)
            spec = imagebuilder_session.spec(booted, shape)
            cloner = imagebuilder_session.cloner(booted, shape) if template else None
            running = Running(imagebuilder_session.background, booted, spec=spec, on_console=on_console, cloner=cloner)
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
def probe(instance: "Running", imagebuilder_session: "Session") -> "Probe":
    """Asks the instance: ``probe.get("/")``, ``probe.tcp(b"PING\\r\\n")``."""
    from imagebuilder.pytest_plugin.running import Probe

    return Probe(instance, imagebuilder_session.background)


@pytest.fixture
def figures(
    request: pytest.FixtureRequest,
    image: "Bundle",
    machine: "Shape",
    recipe_folder: Path,
    kernel: str | None,
    imagebuilder_session: "Session",
) -> "ImageReport":
    """All that is measured of the image, as a report has it; once per session."""
    from imagebuilder.pytest_plugin.session import ImageUnderTest

    found = imagebuilder_session.figures(imagebuilder_session.able(image, machine), machine)
    if not all(check.holds for check in found.checks):
        _traces(request, imagebuilder_session).folders.append(imagebuilder_session.figures_folder(image))
    return _kept(found, request, ImageUnderTest(recipe_folder, kernel), machine, imagebuilder_session)


@pytest.fixture(scope="module")
def imagebuilder_boot_sequence(
    request: pytest.FixtureRequest, kernel: str | None, imagebuilder_session: "Session"
) -> "Iterator[BootSequence]":
    """What the generated tests of one image share."""
    from imagebuilder.pytest_plugin.boot_sequence import BootSequence
    from imagebuilder.pytest_plugin.session import ImageUnderTest

    shape = imagebuilder_session.settings.shape
    made = BootSequence(imagebuilder_session, ImageUnderTest(request.path.parent, kernel, shape.cpus), shape)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def boot_sequence(
    request: pytest.FixtureRequest, imagebuilder_boot_sequence: "BootSequence", imagebuilder_session: "Session"
) -> "BootSequence":
    """The way of an image, as far as the tests before this one have gone."""
    _traces(request, imagebuilder_session).boot_sequence = imagebuilder_boot_sequence
    imagebuilder_boot_sequence.enter(request.node.nodeid)
    return imagebuilder_boot_sequence


@pytest.fixture
def boot_figures(
    request: pytest.FixtureRequest, boot_sequence: "BootSequence", imagebuilder_session: "Session"
) -> "ImageReport":
    """What is measured of the image, or why nothing is."""
    shape = imagebuilder_session.settings.shape
    return _kept(boot_sequence.figures(), request, boot_sequence.subject, shape, imagebuilder_session)


def _kept(
    figures: "ImageReport",
    request: pytest.FixtureRequest,
    subject: "ImageUnderTest",
    shape: "Shape",
    session: "Session",
) -> "ImageReport":
    """The figures, noted for the report of the session."""
    from imagebuilder.pytest_plugin.exchange import Measured

    choice, node = session.choice(shape), request.node
    _traces(request, session).measured = Measured(
        of=(str(subject.folder), subject.kernel, repr(shape)),
        order=node.session.items.index(node),
        accelerator=choice.accelerator.value,
        why=choice.why,
        image=figures,
    )
    return figures


def _traces(request: pytest.FixtureRequest, session: "Session") -> Traces:
    node: pytest.Item = request.node
    if TRACES not in node.stash:
        node.stash[TRACES] = Traces(session.folder_of(node.nodeid))
    return node.stash[TRACES]
