"""The guest's console: kept in bounded memory, whatever the guest prints, and watched line by line."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from imagebuilder.machine.waiting import resolve
from imagebuilder.patterns import Pattern, compiled
from imagebuilder.words import counted

HEAD_BYTES = 256 << 10
TAIL_BYTES = 256 << 10
LINE_BYTES = 64 << 10  # a longer line is looked at in pieces


@dataclass(frozen=True, slots=True)
class Watch:
    """A caller that waits for a line; ``seen`` gets the host's monotonic time in ns at which it came."""

    pattern: Pattern
    seen: asyncio.Future[int]


class Console(asyncio.Protocol):
    """All that came from the guest's serial port: its beginning and its end when it was much."""

    def __init__(self, on_data: Callable[[bytes], None] | None = None) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_room: Callable[[bool], None] = lambda _room: None
        """Called when typed input piles up because the guest does not take it (false), and when it took it (true)."""
        self.total_bytes = 0
        self._on_data = on_data
        self._head = bytearray()
        self._tail = bytearray()
        self._line = b""
        self._watches: list[Watch] = []
        self._transport: asyncio.Transport | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The console is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The guest printed something."""
        now_ns = time.monotonic_ns()
        self._keep(data)
        if self._watches:
            self._look(data, now_ns)
        else:
            self._line = (self._line + data).rpartition(b"\n")[2][-LINE_BYTES:]
        if self._on_data is not None:
            try:
                self._on_data(data)
            except OSError:  # its reader has gone; the guest goes on
                self._on_data = None

    def pause_writing(self) -> None:
        """The guest does not take what is typed."""
        self.on_room(False)

    def resume_writing(self) -> None:
        """It has taken nearly all of it."""
        self.on_room(True)

    def connection_lost(self, error: Exception | None) -> None:
        """QEMU has ended."""
        resolve(self.closed, None)

    # What others call

    @property
    def text(self) -> str:
        """What was printed so far; bytes that are no UTF-8 are replaced, and a line says what was left out."""
        left_out = self.total_bytes - len(self._head) - len(self._tail)
        gap = f"\n[… {counted(left_out, 'byte')} left out …]\n".encode() if left_out else b""
        return (self._head + gap + self._tail).decode(errors="replace")

    def watch(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line matches (searched, not anchored). A line of before counts as seen now. Raises
        ValueError for what is no pattern."""
        watch = Watch(compiled(pattern), asyncio.get_running_loop().create_future())
        if any(watch.pattern.search(line) for line in self.text.splitlines()):
            watch.seen.set_result(time.monotonic_ns())
        else:
            self._watches.append(watch)
        return watch.seen

    def write(self, data: bytes) -> None:
        """Type something into the console."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def connected(self) -> bool:
        """Whether it ever was."""
        return self._transport is not None

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.abort()

    def _keep(self, data: bytes) -> None:
        self.total_bytes += len(data)
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        if len(self._tail) > 2 * TAIL_BYTES:  # seldom, so that each byte is moved once
            del self._tail[:-TAIL_BYTES]

    def _look(self, data: bytes, now_ns: int) -> None:
        """Search the lines that became complete, and the one that has begun: a prompt has no line end."""
        lines = (self._line + data).split(b"\n")
        self._line = lines[-1][-LINE_BYTES:]
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            for watch in self._watches:
                if not watch.seen.done() and watch.pattern.search(text):
                    watch.seen.set_result(now_ns)
        self._watches = [watch for watch in self._watches if not watch.seen.done()]
