"""Draws what the engine says: bars on a terminal, plain lines elsewhere, warnings alone with ``-q``. Everything goes to
standard error, so that standard output holds results only."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from imagebuilder import events
from imagebuilder.events import Event, Say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PACE_S = 5.0  # where no bars are drawn, a step that takes longer is reported again
FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE")  # variables by which rich takes any stream for a terminal
LONGEST_PACES = 6  # at growing distances, of at most so many times that


def stdout(*, beside: bool = False) -> "Console":
    """Where results are printed; as wide as it needs to be where there is no terminal. With ``beside`` they go to
    standard error, because standard output is to hold a document and nothing else."""
    from rich.console import Console  # a tenth of what a build with nothing changed takes

    stream = sys.stderr if beside else sys.stdout
    asked = stream.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(file=stream, width=None if asked else 120, highlight=False)


def stderr() -> "Console":
    """Where progress and warnings are printed."""
    from rich.console import Console

    return Console(stderr=True, width=None if sys.stderr.isatty() else 1000, highlight=False)


@contextmanager
def listener(*, quiet: bool, verbose: bool, console: "Console | None" = None, passing: bool = False) -> Iterator[Say]:
    """What the engine's events are given to while the context lasts. With ``passing`` bars leave no line behind."""
    if console is None and (sys.stderr.isatty() or any(map(os.environ.get, FORCING))):
        console = stderr()
    if console is not None and console.is_terminal and not quiet:
        with _progress(console) as progress:
            yield _Bars(progress, verbose=verbose, passing=passing)
    else:
        with _Lines(console, quiet=quiet, verbose=verbose and not quiet) as lines:
            yield lines


class _Lines:
    """Lines for logs: one when a step begins, and further ones while a long one goes on."""

    def __init__(self, console: "Console | None", *, quiet: bool, verbose: bool, pace_s: float = PACE_S) -> None:
        self._console = console
        self._quiet = quiet
        self._verbose = verbose
        self._pace_s = pace_s
        self._going: dict[str, _Going] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "_Lines":
        if not self._quiet:
            threading.Thread(target=self._tick, name="progress", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()

    def __call__(self, event: Event) -> None:
        match event:
            case events.Warned(text):
                self._print(f"warning: {text}")
            case events.Note(text) if self._verbose:
                self._print(text)
            case events.Told(text) if not self._quiet:
                self._print(text)
            case events.Begun(step, title, total, unit) if not self._quiet:
                self._print(f"{title} …")
                with self._lock:
                    self._going[step] = _Going(title, unit, total, told_after_s=self._pace_s)
            case events.Progress(step, done, total):
                with self._lock:
                    if going := self._going.get(step):
                        going.done, going.total = done, going.total if total is None else total
            case events.Ended(step, title, cached):
                self._end(step, title, cached)
            case events.GivenUp(step):
                with self._lock:
                    self._going.pop(step, None)

    def _end(self, step: str, title: str, cached: bool) -> None:
        with self._lock:
            going = self._going.pop(step, None)
        if going is not None and going.told:
            self._print(f"{title}: done in {duration(going.took_s)}")
        elif self._verbose:
            self._print(f"{title}: {'in the cache' if cached else 'done'}")

    def _tick(self) -> None:
        """Say now and then how far the innermost step is, at growing distances."""
        while not self._over.wait(min(1.0, self._pace_s)):
            with self._lock:
                going = next(reversed(self._going.values()), None)
                due = going is not None and going.is_due(self._pace_s)
            if due and going is not None and not self._over.is_set():
                self._print(going.line)

    def _print(self, text: str) -> None:
        if self._console is None:
            click.echo(text, err=True)
        else:
            self._console.print(text, markup=False, soft_wrap=True)


@dataclass(slots=True)
class _Going:
    """A step that goes on, in a log."""

    title: str
    unit: events.Unit
    total: int | None
    done: int = 0
    told_after_s: float = PACE_S
    told: bool = False
    since_s: float = field(default_factory=time.monotonic)

    @property
    def took_s(self) -> float:
        """For how long it has gone on."""
        return time.monotonic() - self.since_s

    def is_due(self, pace_s: float) -> bool:
        """Whether it is time for a line: each comes a pace later than the one before it, until ``LONGEST_PACES``."""
        now_s = self.took_s
        if now_s < self.told_after_s:
            return False
        self.told = True
        self.told_after_s = now_s + min(now_s, LONGEST_PACES * pace_s)
        return True

    @property
    def line(self) -> str:
        """``compile kernel micro: 120 of 900, 35 s so far``."""
        counts = f"{far(self.done, self.total, self.unit)}, " if self.total else ""
        return f"{self.title}: {counts}{duration(self.took_s)} so far"


def far(done: float, total: float, unit: events.Unit) -> str:
    """``12 of 40`` or ``1.2 of 4.0 MB``."""
    if unit is events.Unit.BYTES:
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done:.0f} of {total:.0f}"


def duration(took_s: float) -> str:
    """``35 s``, ``2 min 5 s``."""
    minutes, seconds = divmod(round(took_s), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class _Bars:
    """A bar a step."""

    def __init__(self, progress: "Progress", *, verbose: bool, passing: bool) -> None:
        self._progress = progress
        self._verbose = verbose
        self._passing = passing
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case events.Warned(text):
                self._progress.console.print(f"[yellow]warning:[/] {_plain(text)}")
            case events.Note(text) if self._verbose:
                self._progress.console.print(text, markup=False)
            case events.Told(text):
                self._progress.console.print(text, markup=False)
            case events.Begun(step, title, total, unit):
                self._tasks[step] = self._progress.add_task(_plain(title), total=total, unit=unit)
            case events.Progress(step, done, total) if step in self._tasks:
                fields: dict[str, Any] = {"completed": done} | ({"total": total} if total is not None else {})
                self._progress.update(self._tasks[step], **fields)
            case events.Ended(step, title, cached):
                self._end(step, title, cached)
            case events.GivenUp(step) if step in self._tasks:
                self._progress.remove_task(self._tasks.pop(step))

    def _end(self, step: str, title: str, cached: bool) -> None:
        task = self._tasks.pop(step, None)
        if task is not None:
            self._progress.remove_task(task)
        if self._verbose or (task is not None and not self._passing):
            mark = "[dim]=[/]" if cached else "[green]✓[/]"
            self._progress.console.print(f"{mark} {_plain(title)}")


def _progress(console: "Console") -> "Progress":
    """Bars, which a terminal alone has: they take longer to import than all of click."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class Counts(TextColumn):
        """How far a step is, in what it counts."""

        def render(self, task: Any) -> Any:
            """``12 of 40`` or ``1.2 of 4.0 MB``; nothing for a step that does not count."""
            from rich.text import Text

            return Text("" if task.total is None else far(task.completed, task.total, task.fields["unit"]))

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        Counts(""),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # what is printed while bars are drawn stands above them, by their console
        redirect_stderr=False,
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
