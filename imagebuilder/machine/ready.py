"""Waiting for the first real answer of the application.

Once init has said that the application listens, one connection is opened, and the next one only when that has ended:
a server that takes its time is not asked again meanwhile, and does no work whose result is dropped.

Where that is not known (no init of ours, no channel), QEMU's user network is in the way: it takes a connection before
the guest is up and repeats its own SYN only after a second or two, so that waiting for one connection measures
that timer instead of the guest. There a fresh connection is opened every few milliseconds beside those that wait, until
the guest has taken or refused one; from then on one at a time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from imagebuilder.machine.answers import Refused, Unanswered, ask_http, ask_tcp
from imagebuilder.machine.excerpt import quoted
from imagebuilder.machine.waiting import all_of, any_of, resolve
from imagebuilder.recipe.model import Ready
from imagebuilder.recipe.values import ReadyKind

INTERVAL_S = 0.010
UNHURRIED_S = 1.0  # until init says that the application, which it has started, may be asked: in case it never does
CROWD = 8  # of a guest whose accepted connections cannot be seen: with more waiting, further ones come more slowly
RING = 4  # so many connections that the guest has not taken wait beside each other
RING_S = 0.025  # with so many, a fresh one takes the place of the oldest after this time

Ask = Callable[[], Coroutine[Any, Any, int]]


class Probed(Protocol):
    """What the probes need of a running instance."""

    @property
    def started(self) -> asyncio.Event | None:
        """Set when the application may be asked; None when that will not be known."""

    @property
    def running(self) -> bool:
        """Whether the application may run by now."""

    @property
    def listens(self) -> bool:
        """Whether the application is known to listen by now, on whatever port."""

    def host_port(self, guest_port: int) -> int:
        """Where a port of the guest is reached."""

    def watch_console(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line of the console matches."""

    async def exited_ns(self, status: int) -> int:
        """The moment at which the application ended with this status. Raises GuestFailed for another end."""

    async def accepted_ns(self, host_port: int) -> int:
        """The moment at which the guest took a connection that we made to this port."""

    async def taken(self, host_port: int) -> bool | None:
        """Whether the guest has taken a connection to this port that is still open; None when that cannot be seen."""


async def _unseen() -> None:
    return None


def _may() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a guest, as far as one can see it without asking: ``Probed`` has the meaning of each."""

    started: asyncio.Event | None = None
    listens: Callable[[], bool] = bool
    taken: Callable[[], Awaitable[bool | None]] = _unseen
    running: Callable[[], bool] = _may

    @classmethod
    def of(cls, subject: Probed, host_port: int) -> "Port":
        """A port of a running instance."""
        taken = partial(subject.taken, host_port)
        return cls(subject.started, lambda: subject.listens, taken, lambda: subject.running)


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What an application answered, of much the beginning; ``status`` is HTTP's."""

    content: bytes
    status: int | None = None


@dataclass(slots=True)
class Attempts:
    """What came of asking: the last thing that was wrong with an answer, and when the application listened."""

    last: str = "has not answered"
    curious: bool = False
    """The answer itself is wanted too."""
    answer: ProbeAnswer | None = None
    at_once: bool = False
    """The application listened before (a clone's): the first connection need not wait until init says so."""
    reachable: bool = False
    """The guest has refused a connection: what it does not refuse from now on, it has taken."""
    asked: bool = False
    begun_s: float = field(default_factory=time.monotonic)
    pause_s: float = INTERVAL_S
    """Between a connection that was of no use and the next one: a server that says "not yet" rests as long as it took
    to say so."""
    waiting: set[asyncio.Task[int]] = field(default_factory=set)
    begun_ns: dict[asyncio.Task[int], int] = field(default_factory=dict)
    """When each of those that wait was opened, in order."""
    opened_ns: dict[asyncio.Task[int], int] = field(default_factory=dict)

    def tell(self, what: str) -> None:
        """How it stands with the question that waits."""
        self.last = what

    def keep(self, answer: bytes, status: int | None = None) -> None:
        """What was answered."""
        self.answer = ProbeAnswer(answer, status)

    def open(self, ask: Ask) -> asyncio.Task[int]:
        """Ask once more."""
        self.asked = True
        task = asyncio.create_task(ask())
        self.begun_ns[task] = time.monotonic_ns()
        self.waiting.add(task)
        return task

    def note(self, task: asyncio.Task[int]) -> None:
        """A connection that was opened since the application started."""
        self.opened_ns[task] = time.monotonic_ns()

    def ended(self, task: asyncio.Task[int]) -> None:
        """It waits no longer."""
        self.waiting.discard(task)
        begun_ns = self.begun_ns.pop(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Refused):
            self.refused(task)
            self._drop_before(begun_ns)
        elif isinstance(error, Unanswered):
            self.pause_s = min(max(INTERVAL_S, (time.monotonic_ns() - begun_ns) / 1e9), UNHURRIED_S)
        if isinstance(error, Unanswered):
            self.last = str(error)

    def refused(self, task: asyncio.Task[int]) -> None:
        """Nothing listened yet when this connection came: nor when those before it did."""
        self.reachable, self.pause_s = True, INTERVAL_S
        at_ns = self.opened_ns.get(task, 0)
        self.opened_ns = {other: opened for other, opened in self.opened_ns.items() if opened > at_ns}

    async def make_room(self) -> None:
        """None of those that wait was taken by the guest: of many, the oldest is of no use any more."""
        if len(self.waiting) >= RING:
            oldest = min(self.waiting, key=self.begun_ns.__getitem__)
            oldest.cancel()
            await all_of(oldest)

    def _drop_before(self, begun_ns: int) -> None:
        """What waits for a SYN to be repeated, while the guest answers to fresh ones."""
        for task in self.waiting:
            if self.begun_ns[task] < begun_ns:
                task.cancel()

    @property
    def listening_ns(self) -> int | None:
        """When the application was seen to listen: the moment at which the first connection was opened that the guest
        did not refuse, of those since its start. As connections are opened every ``INTERVAL_S``, it began at most that
        long before. None: no port was asked, or none since the start."""
        return min(self.opened_ns.values(), default=None)


async def first_answer(ask: Ask, *, port: Port, attempts: Attempts) -> int:
    """Ask until an answer suffices; returns its time in ns."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take(task: asyncio.Task[int]) -> None:
        attempts.ended(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            resolve(answered, task.result())
        elif not isinstance(error, Unanswered) and not answered.done():
            answered.set_exception(error)

    async def open_more() -> None:
        while True:
            await _due(port, attempts)
            task = attempts.open(ask)
            if port.started is not None and port.started.is_set():
                attempts.note(task)
            task.add_done_callback(take)

    opener = asyncio.create_task(open_more())
    try:
        await any_of(answered, opener)
        return answered.result()
    finally:
        for task in (opener, *attempts.waiting):
            task.cancel()
        await all_of(opener, *attempts.waiting)


async def _due(port: Port, attempts: Attempts) -> None:
    """Until the next connection is to be opened: before init says that the application may be asked, one in a
    while; then when the one before has ended, or is known to wait for nothing."""
    if attempts.at_once:
        attempts.at_once = False
    elif port.started is not None and not port.started.is_set():
        if not await _told(port, port.started) and attempts.waiting:
            await _beside(port, attempts)
    elif attempts.waiting:
        await _beside(port, attempts)
    elif attempts.asked:
        await asyncio.sleep(attempts.pause_s)


async def _told(port: Port, started: asyncio.Event) -> bool:
    """Whether init says in a while that the application may be asked. The while begins when it runs: the guest
    would miss a connection before, and take it when it is given up already and its application begins to listen."""
    while True:
        running = port.running()
        try:  # wait_for would forget that it was cancelled, were the event set at the same moment
            async with asyncio.timeout(UNHURRIED_S):
                return await started.wait()
        except TimeoutError:
            if running:
                return False


async def _beside(port: Port, attempts: Attempts) -> None:
    """Until one of those that wait has ended, or a further one may be opened beside them."""
    known = attempts.reachable or port.listens()
    crowded_s = RING_S if len(attempts.waiting) >= RING else INTERVAL_S
    if await any_of(*attempts.waiting, timeout_s=UNHURRIED_S if known else crowded_s):
        await asyncio.sleep(attempts.pause_s)
        return
    taken = await port.taken()
    if taken or (taken is None and known):
        await any_of(*attempts.waiting)
        await asyncio.sleep(attempts.pause_s)
    elif taken is None:
        await asyncio.sleep(INTERVAL_S * len(attempts.waiting) / CROWD)
    else:
        await attempts.make_room()


async def _http(ready: Ready, subject: Probed, attempts: Attempts) -> int:
    assert ready.http is not None
    port = subject.host_port(ready.http.port)
    return await first_answer(
        partial(ask_http, port, ready.http, attempts), port=Port.of(subject, port), attempts=attempts
    )


async def _tcp(ready: Ready, subject: Probed, attempts: Attempts) -> int:
    assert ready.tcp is not None
    port = subject.host_port(ready.tcp.port)
    answer = first_answer(partial(ask_tcp, port, ready.tcp, attempts), port=Port.of(subject, port), attempts=attempts)
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


async def _console(ready: Ready, subject: Probed, attempts: Attempts) -> int:
    assert ready.console is not None
    return await subject.watch_console(ready.console)


async def _exit(ready: Ready, subject: Probed, attempts: Attempts) -> int:
    assert ready.exit is not None
    return await subject.exited_ns(ready.exit)


PROBES: Mapping[ReadyKind, Callable[[Ready, Probed, Attempts], Awaitable[int]]] = {
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
        ReadyKind.CONSOLE: f"no line of the console matched {quoted(ready.console or '')}",
        ReadyKind.EXIT: f"the application has not exited with status {ready.exit}",
    }
    return lacking[ready.kind]
