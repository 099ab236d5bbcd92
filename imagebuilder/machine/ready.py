"""Waiting for the first real answer of the application.

QEMU's user network takes a connection before the guest is up and repeats its own SYN only after a second or two, so
that whoever waits for one connection measures that timer instead of the guest. Here a fresh connection is opened every
few milliseconds beside those that wait already, from the moment at which init says that the application listens (or
has started, where it cannot see more); the first that is answered counts, at the time of its answer. Not before:
each connection that the guest refuses costs it about as much as an answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from imagebuilder.machine.answers import Refused, Unanswered, ask_http, ask_tcp
from imagebuilder.machine.waiting import all_of, any_of, resolve
from imagebuilder.recipe.model import Ready
from imagebuilder.recipe.values import ReadyKind

INTERVAL_S = 0.010
UNHURRIED_S = 1.0  # until init says that the application may be asked: in case it never does
CROWD = 8  # so many connections may wait before further ones come more slowly


class Subject(Protocol):
    """What the probes need of a running instance."""

    @property
    def started(self) -> asyncio.Event | None:
        """Set when the application may be asked; None when nobody will tell."""

    def host_port(self, guest_port: int) -> int:
        """Where a port of the guest is reached."""

    def watch_console(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line of the console matches."""

    async def exited_ns(self, status: int) -> int:
        """The moment at which the application ended with this status. Raises GuestFailed for another end."""

    async def accepted_ns(self, host_port: int) -> int:
        """The moment at which the guest took a connection that we made to this port."""


Ask = Callable[[], Coroutine[Any, Any, int]]


@dataclass(slots=True)
class Attempts:
    """What came of asking: the last thing that was wrong with an answer, and when somebody listened."""

    last: str = "has not answered"
    at_once: bool = False
    """The application listened before (a clone's): the first connection need not wait until somebody says so."""
    patient: bool = False
    """It is known to listen when it may be asked: one connection is answered, and each further one is work for a guest
    that is busy with the first. Of a clone of nginx under TCG they took an eighth of its processor time."""
    asked: bool = False
    waiting: set[asyncio.Task[int]] = field(default_factory=set)
    opened_ns: dict[asyncio.Task[int], int] = field(default_factory=dict)

    def note(self, task: asyncio.Task[int]) -> None:
        """A connection that was opened since the application started."""
        self.opened_ns[task] = time.monotonic_ns()

    def refused(self, task: asyncio.Task[int]) -> None:
        """Nobody listened yet when this connection came: nor when those before it did."""
        at_ns = self.opened_ns.get(task, 0)
        self.opened_ns = {other: opened for other, opened in self.opened_ns.items() if opened > at_ns}

    @property
    def listening_ns(self) -> int | None:
        """When the application was seen to listen: the moment at which the first connection was opened that the guest
        did not refuse, of those since its start. As connections are opened every ``INTERVAL_S``, it began at most that
        long before. None: no port was asked, or none since the start."""
        return min(self.opened_ns.values(), default=None)


async def first_answer(ask: Ask, *, started: asyncio.Event | None, attempts: Attempts) -> int:
    """Ask again and again without waiting for the answers; returns the time in ns of the first one that suffices."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take(task: asyncio.Task[int]) -> None:
        attempts.waiting.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            resolve(answered, task.result())
        elif isinstance(error, Unanswered):
            attempts.last = str(error)
            if isinstance(error, Refused):
                attempts.refused(task)
        elif not answered.done():
            answered.set_exception(error)

    async def open_more() -> None:
        while True:
            await _told(started, attempts)
            attempts.asked = True
            task = asyncio.create_task(ask())
            if started is not None and started.is_set():
                attempts.note(task)
            attempts.waiting.add(task)
            task.add_done_callback(take)

    opener = asyncio.create_task(open_more())
    try:
        await any_of(answered, opener)
        return answered.result()
    finally:
        for task in (opener, *attempts.waiting):
            task.cancel()
        await all_of(opener, *attempts.waiting)


async def _told(started: asyncio.Event | None, attempts: Attempts) -> None:
    """Until the next connection is due: before somebody says that the application may be asked, one in a while."""
    if attempts.at_once:
        attempts.at_once = False
    elif started is not None and not started.is_set():
        with suppress(TimeoutError):  # wait_for would forget that it was cancelled, were it told at the same moment
            async with asyncio.timeout(UNHURRIED_S):
                await started.wait()
    elif attempts.asked:
        interval_s = UNHURRIED_S if attempts.patient else INTERVAL_S
        await asyncio.sleep(interval_s * max(1.0, len(attempts.waiting) / CROWD))


async def _http(ready: Ready, subject: Subject, attempts: Attempts) -> int:
    assert ready.http is not None
    ask = partial(ask_http, subject.host_port(ready.http.port), ready.http)
    return await first_answer(ask, started=subject.started, attempts=attempts)


async def _tcp(ready: Ready, subject: Subject, attempts: Attempts) -> int:
    assert ready.tcp is not None
    port = subject.host_port(ready.tcp.port)
    answer = first_answer(partial(ask_tcp, port, ready.tcp), started=subject.started, attempts=attempts)
    if ready.tcp.expect is not None:
        return await answer
    ways = (asyncio.ensure_future(answer), asyncio.ensure_future(subject.accepted_ns(port)))
    try:
        await any_of(*ways)
        return next(way.result() for way in ways if way.done())
    finally:
        for way in ways:
            way.cancel()
        await all_of(*ways)


async def _console(ready: Ready, subject: Subject, attempts: Attempts) -> int:
    assert ready.console is not None
    return await subject.watch_console(ready.console)


async def _exit(ready: Ready, subject: Subject, attempts: Attempts) -> int:
    assert ready.exit is not None
    return await subject.exited_ns(ready.exit)


PROBES: Mapping[ReadyKind, Callable[[Ready, Subject, Attempts], Awaitable[int]]] = {
    ReadyKind.HTTP: _http,
    ReadyKind.TCP: _tcp,
    ReadyKind.CONSOLE: _console,
    ReadyKind.EXIT: _exit,
}


def wanted(ready: Ready, attempts: Attempts) -> str:
    """What was waited for and did not come, for a sentence."""
    lacking = {
        ReadyKind.HTTP: f"port {ready.port} {attempts.last}",
        ReadyKind.TCP: f"port {ready.port} {attempts.last}",
        ReadyKind.CONSOLE: f"no line of the console matched {ready.console!r}",
        ReadyKind.EXIT: f"the application has not exited with status {ready.exit}",
    }
    return lacking[ready.kind]
