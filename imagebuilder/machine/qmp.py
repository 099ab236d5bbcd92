"""The door to ``qemu.qmp``: one connection to one QEMU, its events with our monotonic time."""

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from imagebuilder.errors import MachineError
from imagebuilder.machine.excerpt import excerpt
from imagebuilder.machine.waiting import readable, resolve

MOST_EVENTS = 1000
ANSWER_S = 60.0
"""What a command may take: all that take long, such as migrate, answer when they have begun."""
# What the library raises of a connection that is none any more, or on which comes what is no QMP. It asserts that the
# session runs, which is not so when QEMU ended right after its greeting.
BROKEN = (QMPError, EOFError, OSError, AssertionError, ValueError, LookupError, TypeError, RecursionError)
# It logs the end of a QEMU as an error, with a traceback; for us every instance ends so, and our errors say what is to
# be said of it.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """What QEMU reported by itself, and when it arrived (host's monotonic clock).

    ``wall_ns`` is QEMU's own stamp: when it happened, by the host's wall clock, in steps of 1 µs; 0 without one.
    """

    name: str
    at_ns: int
    data: Mapping[str, Any]
    wall_ns: int = 0


class Qmp:
    """The monitor of one QEMU over a connected socket."""

    def __init__(self, name: str, on_event: Callable[[QmpEvent], None]) -> None:
        self.events: deque[QmpEvent] = deque(maxlen=MOST_EVENTS)
        self.greeting_ns = 0
        self.running_ns = 0
        """When it answered first: it does so from its main loop, which it enters right after the processor may run."""
        self.version = ""
        """QEMU's version, as in ``7.2.22``."""
        self._on_event = on_event
        self._awaited: list[tuple[str, tuple[str, ...], asyncio.Future[QmpEvent]]] = []
        self._client = QMPClient(name)
        self._listener = EventListener()
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, connection: socket.socket, *, at_greeting: Callable[[], None] = lambda: None) -> None:
        """Wait for the greeting and take over the socket. Raises EOFError, OSError or MachineError."""
        await readable(connection)
        self.greeting_ns = self.running_ns = time.monotonic_ns()
        at_greeting()
        if not connection.recv(1, socket.MSG_PEEK):
            raise EOFError("QEMU ended before it greeted")
        await self._take_up(connection)
        self.running_ns = time.monotonic_ns()
        greeting = self._client.greeting
        version: Any = greeting.QMP.version.get("qemu") if greeting else {}
        parts = version if isinstance(version, dict) else {}
        self.version = ".".join(str(parts[part]) for part in ("major", "minor", "micro") if part in parts)

    async def go_on(self, connection: socket.socket, *, version: str) -> None:
        """Take over the socket of a QEMU that has greeted another client before. Raises EOFError or OSError."""
        self._client.await_greeting = self._client.negotiate = False
        self.version = version
        self.greeting_ns = self.running_ns = time.monotonic_ns()
        await self._take_up(connection)

    async def _take_up(self, connection: socket.socket) -> None:
        self._client.register_listener(self._listener)
        self._reader = asyncio.create_task(self._read_events())
        try:
            await self._client.connect(connection)
        except BROKEN as error:
            raise EOFError(f"QEMU ended while it greeted: {error}") from error

    async def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command. Raises MachineError when QEMU refuses it, has ended, or is alive and does not answer."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._client.execute(command, arguments or None)
        except TimeoutError as error:
            raise MachineError(f"QEMU runs and did not answer {command} within {ANSWER_S:g} s") from error
        except ExecuteError as error:
            raise MachineError(f"QEMU refused {command}: {excerpt(str(error))}") from error
        except BROKEN as error:
            raise MachineError(f"QEMU ended before it had done {command}") from error

    async def send_fd(self, name: str, fd: int) -> None:
        """Give QEMU an open file, which it knows by ``name`` afterwards. Raises MachineError."""
        self._client.send_fd_scm(fd)
        await self.execute("getfd", fdname=name)

    async def ask(self, words: str) -> str:
        """Give a line to the monitor for people, and return what it says. Raises MachineError."""
        return str(await self.execute("human-monitor-command", **{"command-line": words}))

    def next_event(self, name: str, *, status: tuple[str, ...] = ()) -> asyncio.Future[QmpEvent]:
        """The next event of this name, from now on; one that has a status counts with one of these only."""
        future: asyncio.Future[QmpEvent] = asyncio.get_running_loop().create_future()
        self._awaited.append((name, status, future))
        return future

    async def close(self) -> None:
        """Let go of the connection; what QEMU reported before is kept."""
        with suppress(*BROKEN):
            await self._client.disconnect()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for message in self._listener.clear():
            self._note(message)

    async def _read_events(self) -> None:
        async for message in self._listener:
            self._note(message)

    def _note(self, message: Mapping[str, Any]) -> None:
        data, at_ns = message.get("data"), time.monotonic_ns()
        known = dict(data) if isinstance(data, dict) else {}
        event = QmpEvent(str(message.get("event")), at_ns, known, _wall_ns(message.get("timestamp")))
        self.events.append(event)
        self._on_event(event)
        for wanted, status, future in self._awaited:
            if wanted == event.name and (not status or event.data.get("status") in status):
                resolve(future, event)
        self._awaited = [each for each in self._awaited if not each[-1].done()]


def _wall_ns(stamp: Any) -> int:
    """A stamp of QEMU's in ns; 0 for what is none."""
    match stamp:
        case {"seconds": int(seconds), "microseconds": int(microseconds)}:
            return seconds * 1_000_000_000 + microseconds * 1000
    return 0
