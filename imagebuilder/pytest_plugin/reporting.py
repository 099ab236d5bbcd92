"""What the tests of a session measured, gathered where pytest reports (under xdist they ran elsewhere): the report as
JSON, a few lines at the end, and properties of the JUnit XML."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagebuilder.errors import ImagebuilderError, InputError
from imagebuilder.pytest_plugin.fixtures import Traces

if TYPE_CHECKING:
    from imagebuilder.measure.report import ImageReport, Report
    from imagebuilder.pytest_plugin.exchange import Measured

MEASURED = "imagebuilder_measured"
ANSWERED = "imagebuilder_answered"
WRONG = 2


def note(report: pytest.TestReport, traces: Traces) -> None:
    """Send along with a test's report what it measured, and what was answered."""
    if traces.measured is not None and (report.when == "call" or not report.passed):
        setattr(report, MEASURED, traces.measured.to_text())  # as text, because xdist takes it over a wire
    if traces.answer is not None and report.when == "call":
        setattr(report, ANSWERED, list(traces.answer))
        report.sections.append(traces.answer)


class Gathered:
    """The figures of a session."""

    def __init__(self, json_path: Path | None) -> None:
        self._json_path = json_path
        self._found: dict[tuple[str, str | None, str], Measured] = {}
        self._complaint: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test has ended: each image is taken once, where it was met first in the order of the tests."""
        if (text := getattr(report, MEASURED, None)) is None:
            return
        from imagebuilder.pytest_plugin.exchange import Measured

        try:
            new = Measured.of_text(text)
        except InputError as error:
            self._complaint = str(error)
            return
        known = self._found.setdefault(new.of, new)
        self._found[new.of] = known.model_copy(update={"order": min(known.order, new.order)})

    @property
    def why(self) -> str:
        """Why the machines ran under their accelerator."""
        return next((found.why for found in self._found.values()), "")

    def report(self) -> "Report | None":
        """The document; None when nothing was measured."""
        if not self._found:
            return None
        from imagebuilder.measure import report
        from imagebuilder.measure.host import host

        found = sorted(self._found.values(), key=lambda each: each.order)
        return report.of(host(found[0].accelerator), tuple(each.image for each in found))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Before the JUnit XML is written."""
        if hasattr(session.config, "workerinput"):
            return
        if (report := self.report()) is None:
            if self._json_path is not None and not session.config.option.collectonly:
                self._complaint = f"{self._json_path} was not written: no test that measures an image was run"
                session.exitstatus = session.exitstatus or WRONG
            return
        if self._json_path is not None and not self._written(self._json_path, report):
            session.exitstatus = WRONG
        for plugin in session.config.pluginmanager.get_plugins():
            if hasattr(plugin, "add_global_property"):  # pytest's own, with --junitxml
                for name, value in properties(report):
                    plugin.add_global_property(name, value)

    def _written(self, path: Path, report: "Report") -> bool:
        from imagebuilder.filesystems.common import replacing

        try:
            with replacing(path) as temporary:
                temporary.write_bytes(report.to_bytes())
        except (OSError, ImagebuilderError) as error:
            self._complaint = f"{path} cannot be written: {getattr(error, 'strerror', None) or error}"
        return self._complaint is None

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """A line an image."""
        if self._complaint is not None:
            terminalreporter.write_line(self._complaint, red=True)
        if terminalreporter.verbosity < 0 or (report := self.report()) is None:
            return
        terminalreporter.section("figures")
        for image, name in zip(report.images, _names(report.images), strict=True):
            terminalreporter.write_line(f"{name}: {', '.join(_words(image)) or 'nothing was measured'}")


def figures(image: "ImageReport") -> Iterator[tuple[str, float]]:
    """The figures of an image that one looks at first, each with its unit in its name."""
    from imagebuilder.measure.render.words import floors

    startup, memory = image.startup, image.memory
    known: list[tuple[str, float | None]] = [("image_bytes", image.bytes)]
    if startup is not None:
        known += [("ready_ms", startup.ready_ms.median), ("floor_ms", startup.floor_ms.median)]
        known += [("startup_floors", floors(startup))]
        known += [("instructions", startup.instructions.median)] if startup.instructions else []
    if memory is not None:
        known += [("guest_used_bytes", memory.guest_used_bytes), ("host_pss_bytes", memory.host_pss_bytes)]
        known += [("minimum_bytes", memory.minimum_bytes)]
    yield from ((name, value) for name, value in known if value is not None)


def properties(report: "Report") -> Iterator[tuple[str, str]]:
    """What stands at the top of the JUnit XML: the host, and the figures of each image."""
    yield from ((f"host.{name}", str(value)) for name, value in asdict(report.host).items() if value is not None)
    for image, name in zip(report.images, _names(report.images), strict=True):
        yield from ((f"{name}.{key}", f"{value:.10g}") for key, value in figures(image))


def _names(images: "Sequence[ImageReport]") -> Iterator[str]:
    """The images' names, with the kernel's where two have the same."""
    names = [image.name for image in images]
    for image in images:
        yield image.name if names.count(image.name) == 1 else f"{image.name}@{image.kernel or 'unknown'}"


def _words(image: "ImageReport") -> Iterator[str]:
    from imagebuilder.measure.render.words import value

    for name, amount in figures(image):
        yield f"{name.rpartition('_')[0] or name} {value(name, amount)}"
