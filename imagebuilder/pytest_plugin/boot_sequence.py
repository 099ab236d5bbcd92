"""The way of one image that the generated tests go together: built, booted, ready, asked again, ended, measured."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import GuestFailed, ImagebuilderError, MachineError
from imagebuilder.events import silent
from imagebuilder.machine.ending import Exit
from imagebuilder.measure.image import not_built, not_started
from imagebuilder.measure.report import ImageReport
from imagebuilder.pytest_plugin.running import Running
from imagebuilder.pytest_plugin.session import ImageUnderTest, Session, Shape
from imagebuilder.recipe.load import load

T = TypeVar("T")
NOT_REACHED = "not reached"
MOST_CHARACTERS = 10_000  # of an answer that people look at


@dataclass(frozen=True, slots=True)
class Told:
    """An error, and the test that reported it."""

    error: ImagebuilderError
    test: str


class BootSequence:
    """Each test goes as far as it needs, on the machine that the one before it has left running: so an image boots once
    for all of them. The first test that meets an error raises it; the others are skipped, until that one is run again.
    """

    def __init__(self, session: Session, subject: ImageUnderTest, shape: Shape) -> None:
        self.subject = subject
        self.running: Running | None = None
        self.folders: list[Path] = []
        """Where there is to see what went wrong in starts of which the machines are gone."""
        self._session = session
        self._shape = shape
        self._test = ""
        self._told: Told | None = None
        self._over = False

    def enter(self, test: str) -> None:
        """A test begins."""
        self._test = test
        if self._over:
            self.close()
        if self._told is not None and self._told.test == test:
            self._told = None
            self.close()

    def image(self) -> Bundle:
        """The image."""
        __tracebackhide__ = True
        return self._well(lambda: self._session.image(self.subject))

    def booted(self) -> Running:
        """The machine, with the application started in it."""
        __tracebackhide__ = True
        image = self.image()
        self.running = self.running or self._well(lambda: self._spawned(image))
        self._well(self.running.wait_started)
        return self.running

    def _spawned(self, image: Bundle) -> Running:
        return Running(self._session.background, image, spec=self._session.spec(image, self._shape))

    def ready(self) -> Running:
        """The machine, after its first answer."""
        __tracebackhide__ = True
        running = self.booted()
        if running.ready_ms is None:
            self._well(running.wait_ready)
        return running

    def answer(self) -> tuple[str, str]:
        """What it says when it is asked once more: what that is, and the text."""
        __tracebackhide__ = True
        running = self.ready()
        title, text = self._well(running.ask)
        return title, text.strip()[:MOST_CHARACTERS]

    def ended(self) -> tuple[Running, Exit]:
        """The machine that was asked to end, and how it ended."""
        __tracebackhide__ = True
        running = self.ready()
        self._over = True
        return running, self._well(running.terminate)

    def close(self) -> None:
        """End the machine, if there is one."""
        if self.running is not None:
            self.running.close()
        self.running, self._over = None, False

    def figures(self) -> ImageReport:
        """What is measured of the image: of one that could not be built or started, that. Nothing else runs meanwhile.
        Raises what no image can help (no QEMU)."""
        self.close()
        try:
            image = self._session.image(self.subject)
        except ImagebuilderError as error:
            build = Build(load(self.subject.folder), self._session.store, silent, kernel_name=self.subject.kernel)
            return not_built(build.folder_name, error, budget=build.recipe.budget)
        if self._told is not None and isinstance(self._told.error, MachineError):
            options, say = self._session.options(image, self._shape), self._session.settings.say
            return not_started(image, options, self._told.error, store=self._session.store, say=say)
        figures = self._well(lambda: self._session.figures(image, self._shape))
        if not all(check.holds for check in figures.checks):
            self.folders.append(self._session.figures_folder(image))
        return figures

    def check(self, figures: ImageReport) -> None:
        """Whether all starts went well. Raises, or skips, when not."""
        __tracebackhide__ = True
        self.image()
        failed = next((check for check in figures.checks if not check.holds), None)
        if failed is not None:
            self._well(lambda: _raise(GuestFailed(failed.message or f"{failed.name} was {NOT_REACHED}")))

    def _well(self, work: Callable[[], T]) -> T:
        __tracebackhide__ = True
        if self._told is not None:
            pytest.skip(NOT_REACHED)
        try:
            return work()
        except ImagebuilderError as error:
            self._told = Told(error, self._test)
            raise


def _raise(error: ImagebuilderError) -> NoReturn:
    raise error
