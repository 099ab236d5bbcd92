"""How the command line is ended from outside: one rule for all verbs.

Ctrl-C gives the exit status 130, SIGTERM 143, SIGHUP 129 (128 and the signal's number, as shells count), and one
sentence on standard error. While modules are imported nothing is under way, and we leave at once; while a verb works,
by an exception, so that whatever is under way is tidied up; in an event loop, where an exception would hit whatever
task has its turn, by cancelling the work; afterwards as the system does it. A signal that was ignored when we were
started, as ``nohup`` does it, stays ignored. Imports next to nothing: it is there before all else.
"""

import os
import signal
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
SIGNALLED = 128
LATER_S = 0.01


class Ended(KeyboardInterrupt):
    """We were asked to end by this signal: whichever it is, libraries take it for Ctrl-C and do what they do then.

    (Python 3.11 kills itself at the end when a KeyboardInterrupt came while it was in an ``exec`` of a text, as
    dataclasses have it, even if it was caught; not so for a class of its own.)
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def sentence(number: int) -> str:
    """The message for it."""
    return f"imagebuilder: ended by {NAMES[signal.Signals(number)]}"


def watched() -> list[signal.Signals]:
    """The signals that end us; not those that are ignored here."""
    return [number for number in NAMES if signal.getsignal(number) is not signal.SIG_IGN]


def leave_at_once() -> None:
    """From now on a signal ends us where we stand."""
    for number in watched():
        signal.signal(number, _left)


def leave_tidily() -> None:
    """From now on a signal becomes an exception."""
    for number in watched():
        signal.signal(number, _raised)
    sys.unraisablehook = _once_more


def leave_as_usual() -> None:
    """From now on signals do what they do to any program."""
    for number in watched():
        signal.signal(number, signal.SIG_DFL)


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` for verbs: the first signal cancels the work, and is raised as Ended when that has tidied up; the
    next one is raised where we stand."""
    import asyncio

    caught: list[int] = []

    async def cancelled_by_signals() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel(number: int, frame: FrameType | None) -> None:
            if caught:
                _raised(number, frame)
            caught.append(number)
            task.cancel()
            loop.call_soon_threadsafe(lambda: None)  # wakes it when it waits

        for number in before:
            signal.signal(number, cancel)
        return await work

    before = {number: signal.getsignal(number) for number in watched()}
    try:
        return asyncio.run(cancelled_by_signals())
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Ended(caught[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def behind(error: BaseException | None) -> int | None:
    """The signal that an exception comes from: a library may have raised one of its own on the way."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return _number(error)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _left(number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, f"{sentence(number)}\n".encode())
    os._exit(SIGNALLED + number)


def _raised(number: int, _frame: FrameType | None) -> NoReturn:
    raise Ended(number)


def _once_more(lost: Any) -> None:
    """Where no exception can come through, such as in a destructor, the signal is sent again a little later."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    import threading

    threading.Timer(LATER_S, os.kill, [os.getpid(), _number(lost.exc_value)]).start()


def _number(error: KeyboardInterrupt) -> int:
    return error.number if isinstance(error, Ended) else signal.SIGINT
