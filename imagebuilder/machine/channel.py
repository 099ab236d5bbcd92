"""The host's end of the virtio-serial port on which the guest's init reports: lines in, commands out."""

import asyncio
import time
from contextlib import suppress
from typing import Any, cast

from imagebuilder.machine.messages import Done, GuestMemory, Listens, Message, Phase, Watch
from imagebuilder.machine.reports import LINE_BYTES, Reports
from imagebuilder.machine.waiting import any_of, resolve

LISTENING = "listening"
LISTENS_S = 2.0  # an older init does not know the question


class Channel(asyncio.Protocol):
    """The host's end of the port: lines in, commands out."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.reports = Reports()
        self.started = asyncio.Event()
        """The application was started."""
        self.askable = asyncio.Event()
        """It listens, as far as init can tell; where init does not look, it was started."""
        self._watched = False
        self.ended: asyncio.Future[None] = loop.create_future()
        """The application ended, or init failed."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self._memory: list[asyncio.Future[GuestMemory]] = []
        self._done: list[tuple[str, asyncio.Future[None]]] = []
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is there, though the guest may not have opened its side."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The guest sent something."""
        now_ns = time.monotonic_ns()
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_BYTES]
        for line in lines:
            self._act(self.reports.take(line, now_ns))

    def connection_lost(self, error: Exception | None) -> None:
        """QEMU has ended."""
        for waiting in self._memory:
            waiting.cancel()
        for _, done in self._done:
            done.cancel()
        resolve(self.closed, None)

    async def wait_started(self, timeout_s: float) -> None:
        """Wait until the application was started, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.started.wait()

    def send(self, command: str) -> None:
        """Say something to init."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(command.encode() + b"\n")

    def ask_memory(self) -> asyncio.Future[GuestMemory]:
        """The guest's memory; cancelled when the machine ends before it answers."""
        answer: asyncio.Future[GuestMemory] = asyncio.get_running_loop().create_future()
        self._memory.append(answer)
        self.send("memory")
        return answer

    async def listening(self, over: asyncio.Future[Any]) -> frozenset[Listens] | None:
        """What TCP sockets of the guest listen; None when init does not answer, or the machine is ``over``."""
        if not self.started.is_set() or over.done():
            return None
        told = self.done("sockets")
        self.send("sockets")
        await any_of(told, over, timeout_s=LISTENS_S)
        if not told.done() or told.cancelled():
            told.cancel()
            return None
        return frozenset(self.reports.listens)

    def done(self, command: str) -> asyncio.Future[None]:
        """When init next says that it has done the command; cancelled when the machine ends before."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append((command, future))
        self.reports.ask(command)
        return future

    @property
    def connected(self) -> bool:
        """Whether it ever was."""
        return self._transport is not None

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.abort()

    def _act(self, message: Message | None) -> None:
        if isinstance(message, Done):
            self._tell(message)
        if (isinstance(message, Phase) and message.name == "application") or message == Done("thaw"):
            self.started.set()
            if not self._watched:
                self.askable.set()
        elif isinstance(message, Watch):
            self._watched = True
        elif isinstance(message, Phase) and message.name == LISTENING:
            self.askable.set()
        elif isinstance(message, GuestMemory) and self._memory:
            waiting = self._memory.pop(0)
            resolve(waiting, message)
        elif self.reports.end is not None:
            resolve(self.ended, None)

    def _tell(self, done: Done) -> None:
        for future in [future for command, future in self._done if command == done.command]:
            resolve(future, None)
        self._done = [each for each in self._done if not each[1].done()]
