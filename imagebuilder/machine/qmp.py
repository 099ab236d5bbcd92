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
from imagebuilder.machine.waiting import readable

MOST_EVENTS = 1000
# It logs the end of a QEMU as an error, with a traceback; for us every instance ends so, and our errors say what is to
# be said of it.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """What QEMU told by itself, and when it arrived (host's monotonic clock).

    ``wall_ns`` is QEMU's own stamp: when it happened, by the host's wall clock, in steps of 1 µs.
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
        self._client = QMPClient(name)
        self._listener = EventListener()
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, connection: socket.socket, *, at_greeting: Callable[[], None] = lambda: None) -> None:
        """Wait for the greeting and take over the socket. Raises EOFError, OSError or MachineError."""
        await readable(connection)
        self.greeting_ns = time.monotonic_ns()
        at_greeting()
        if not connection.recv(1, socket.MSG_PEEK):
            raise EOFError("QEMU ended before it greeted")
        await self._take_up(connection)
        self.running_ns = time.monotonic_ns()
        greeting = self._client.greeting
        version: Any = greeting.QMP.version["qemu"] if greeting else {}
        self.version = ".".join(str(version[part]) for part in ("major", "minor", "micro") if part in version)

    async def go_on(self, connection: socket.socket, *, version: str) -> None:
        """Take over the socket of a QEMU that has greeted somebody else before. Raises EOFError or OSError."""
        self._client.await_greeting = self._client.negotiate = False
        self.version = version
        self.greeting_ns = self.running_ns = time.monotonic_ns()
        await self._take_up(connection)

    async def _take_up(self, connection: socket.socket) -> None:
        self._client.register_listener(self._listener)
        self._reader = asyncio.create_task(self._read_events())
        try:
            await self._client.connect(connection)
        # qemu.qmp asserts that the session runs, which is not so when QEMU ended right after its greeting.
        except (QMPError, AssertionError) as error:
            raise EOFError(f"QEMU ended while it greeted: {error}") from error

    async def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command. Raises MachineError when QEMU refuses it or has ended."""
        try:
            return await self._client.execute(command, arguments or None)
        except ExecuteError as error:
            raise MachineError(f"QEMU refused {command}: {excerpt(str(error))}") from error
        except (QMPError, EOFError, OSError) as error:
            raise MachineError(f"QEMU ended before it had done {command}") from error

    async def send_fd(self, name: str, fd: int) -> None:
        """Give QEMU an open file, which it knows by ``name`` afterwards. Raises MachineError."""
        self._client.send_fd_scm(fd)
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """Let go of the connection; what QEMU told before is kept."""
        with suppress(QMPError, EOFError, OSError, AssertionError):  # as in connect
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
        data = message.get("data")
        stamp = message["timestamp"]
        wall_ns = stamp["seconds"] * 1_000_000_000 + stamp["microseconds"] * 1000
        name, at_ns = str(message["event"]), time.monotonic_ns()
        event = QmpEvent(name, at_ns, dict(data) if isinstance(data, dict) else {}, wall_ns)
        self.events.append(event)
        self._on_event(event)
