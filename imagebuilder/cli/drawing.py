"""Draws what the engine says: bars on a terminal, plain lines elsewhere, nothing with ``-q``. Everything goes to
standard error, so that standard output holds results only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from imagebuilder import events
from imagebuilder.events import Event, Say


def stdout() -> Console:
    """Where results are printed; as wide as it needs to be when nobody looks at it."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def stderr() -> Console:
    """Where progress and warnings are printed."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 1000, highlight=False)


@contextmanager
def listener(*, quiet: bool, verbose: bool, console: Console | None = None, passing: bool = False) -> Iterator[Say]:
    """What the engine's events are given to while the context lasts. With ``passing`` bars leave no line behind."""
    console = console or stderr()
    if quiet:
        yield _Lines(console, quiet=True, verbose=False)
    elif console.is_terminal:
        with _progress(console) as progress:
            yield _Bars(progress, verbose=verbose, passing=passing)
    else:
        yield _Lines(console, quiet=False, verbose=verbose)


class _Lines:
    """One line a step, for logs."""

    def __init__(self, console: Console, *, quiet: bool, verbose: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._verbose = verbose

    def __call__(self, event: Event) -> None:
        match event:
            case events.Warned(text):
                self._print(f"warning: {text}")
            case events.Note(text) if self._verbose:
                self._print(text)
            case events.Begun(_, title) if not self._quiet:
                self._print(f"{title} …")
            case events.Ended(_, title, cached) if self._verbose:
                self._print(f"{title}: {'in the cache' if cached else 'done'}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class _Bars:
    """A bar a step."""

    def __init__(self, progress: Progress, *, verbose: bool, passing: bool) -> None:
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
            case events.Begun(step, title, total, unit):
                counts = {events.Unit.BYTES: "bytes", events.Unit.ITEMS: "items"}[unit]
                self._tasks[step] = self._progress.add_task(_plain(title), total=total, counts=counts)
            case events.Progress(step, done, total) if step in self._tasks:
                fields: dict[str, Any] = {"completed": done} | ({"total": total} if total is not None else {})
                self._progress.update(self._tasks[step], **fields)
            case events.Ended(step, title, cached):
                self._end(step, title, cached)

    def _end(self, step: str, title: str, cached: bool) -> None:
        task = self._tasks.pop(step, None)
        if task is not None:
            self._progress.remove_task(task)
        if self._verbose or (task is not None and not self._passing):
            mark = "[dim]=[/]" if cached else "[green]✓[/]"
            self._progress.console.print(f"{mark} {_plain(title)}")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        _Counts(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # whoever prints while bars are drawn does so above them, by their console
        redirect_stderr=False,
    )


class _Counts(TextColumn):
    """How far a step is, in what it counts."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Any:
        """``12 of 40`` or ``1.2 of 4.0 MB``; nothing for a step that does not count."""
        from rich.text import Text

        if task.total is None:
            return Text("")
        if task.fields.get("counts") == "bytes":
            return Text(f"{task.completed / 1e6:.1f} of {task.total / 1e6:.1f} MB")
        return Text(f"{task.completed:.0f} of {task.total:.0f}")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
