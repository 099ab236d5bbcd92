"""The boot tests of recipes, run by pytest itself (``docs/testing.md``) and drawn as the other verbs draw."""

import os
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.text import Text

from imagebuilder.cli import signals
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.events import Begun, Event, Say
from imagebuilder.pytest_plugin import GATHERED
from imagebuilder.pytest_plugin.fixtures import RECIPE, SAY
from imagebuilder.pytest_plugin.reporting import ANSWERED, Gathered

if TYPE_CHECKING:
    from imagebuilder.measure.report import Report

WRONG = 2
# pytest's statuses that mean something else with us: it was used wrongly; no test was left to run.
STATUSES: Mapping[int, int] = {pytest.ExitCode.USAGE_ERROR: WRONG, pytest.ExitCode.NO_TESTS_COLLECTED: WRONG}
MARKS: Mapping[str, tuple[str, str]] = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim")}
WORTH_TELLING_S = 0.05


class Session:
    """One run of pytest, and what is to be seen of it: bars while a test goes on, a line when it has ended."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self.answers: list[tuple[str, str]] = []
        self.outcomes: dict[str, bool] = {}
        """Whether each test passed, by its name; those that were skipped are not among them."""
        self._quiet = quiet
        self._verbose = verbose
        self.ended_by: int | None = None
        self._config: pytest.Config | None = None
        self._bars = ExitStack()
        self._say: Say | None = None
        self._took_s: dict[str, float] = {}
        # pytest keeps what tests print to itself; the bars are not theirs.
        self._screen = Console(file=os.fdopen(os.dup(sys.stderr.fileno()), "w"), highlight=False)

    def run(self, folders: Sequence[Path], given: Mapping[str, object], words: Sequence[str]) -> int:
        """Run the tests that each recipe gives and those beside it; returns the exit status.

        ``given``: options of pytest and their values; None and False are left out, True is a word of its own.
        ``words``: further ones.
        """
        paths = [str(path) for folder in folders for path in (folder, folder / RECIPE)]
        # The folder of a recipe that ships may not be ours to write to.
        usual = ["-q", "-p", "no:cacheprovider", "-o", "console_output_style=classic"]
        try:
            status = int(pytest.main([*paths, "-p", "imagebuilder", *usual, *_options(given), *words], [self]))
        except pytest.exit.Exception as error:
            status = error.returncode or WRONG
        finally:
            self._bars.close()
            self._screen.file.close()
        return STATUSES.get(status, status)

    @property
    def gathered(self) -> "tuple[Report | None, str]":
        """What was measured (None: nothing), and why under that accelerator."""
        found = self._config.pluginmanager.get_plugin(GATHERED) if self._config else None
        return (found.report(), found.why) if isinstance(found, Gathered) else (None, "")

    # What pytest prints

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """The options are known. What pytest-asyncio advises a project to set is not the caller's concern here."""
        warnings.filterwarnings("ignore", message=".*asyncio_default_fixture_loop_scope")
        self._config = config
        config.stash[SAY] = self._tell

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self, config: pytest.Config
    ) -> Generator[None, tuple[str, str, object], tuple[str, str, object]]:
        """Our own lines stand for the letters, unless more of pytest's output was asked for."""
        category, letter, word = yield
        return category, "" if self._draws(config) else letter, word

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        if self._config is None or self._config.pluginmanager.hasplugin("dsession"):
            return  # it does so in another process, beside others
        self._bars = ExitStack()
        shown = listener(quiet=self._quiet, verbose=self._verbose, console=self._screen, passing=True)
        self._say = self._bars.enter_context(shown)
        if self._screen.is_terminal:
            self._say(Begun(nodeid, " ".join(self._named(nodeid))))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test went on, or has ended."""
        self._took_s[report.nodeid] = self._took_s.get(report.nodeid, 0) + report.duration
        if (answer := getattr(report, ANSWERED, None)) is not None:
            self.answers.append((answer[0], answer[1]))
        if report.when == "call" or not report.passed:
            self._bars.close()
            if not report.skipped:
                self.outcomes[self._named(report.nodeid)[1]] = report.passed
            if self._config is not None and self._draws(self._config):
                stdout().print(self._line(report), soft_wrap=True)

    def pytest_runtest_logfinish(self) -> None:
        """A test has ended."""
        self._bars.close()

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, or the end of the process is asked for: one sentence says so, and it is not pytest's."""
        self._bars.close()
        self.ended_by = signals.behind(excinfo.value)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter") if self._config else None
        if self.ended_by is not None and reporter is not None:
            reporter._report_keyboardinterrupt = lambda: None

    def _tell(self, event: Event) -> None:
        if self._say is not None:
            self._say(event)

    def _draws(self, config: pytest.Config) -> bool:
        return config.get_verbosity() < 0

    def _line(self, report: pytest.TestReport) -> Text:
        """``✓ nginx  answers  0.2 s``."""
        image, test = self._named(report.nodeid)
        took_s = self._took_s[report.nodeid]
        said = f"{took_s:6.1f} s" if took_s >= WORTH_TELLING_S else ""
        if report.skipped and isinstance(report.longrepr, tuple):
            said = report.longrepr[2].removeprefix("Skipped: ")
        mark, style = MARKS[report.outcome]
        line = Text.assemble((mark, style), f" {image:<10} {test:<26} ", (said, "dim"))
        line.rstrip()
        return line

    def _named(self, nodeid: str) -> tuple[str, str]:
        """The recipe's folder, and the test; of a test in a file of its own, that file too."""
        path, _, test = nodeid.partition("::")
        root = self._config.rootpath if self._config else Path()
        file = root / path
        return file.parent.name, test if file.name == RECIPE else f"{file.name}::{test}"


def _options(given: Mapping[str, object]) -> list[str]:
    words: list[str] = []
    for option, value in given.items():
        for each in value if isinstance(value, tuple | list) else (value,):
            if each not in (None, False):
                words.append(option if each is True else f"{option}={each}")
    return words
