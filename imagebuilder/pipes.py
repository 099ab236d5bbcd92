"""What goes over the pipes of a program: its input is written and what it prints is read, until the program has ended.

Nothing but the program is waited for: what it leaves behind may hold its pipes for ever. What it prints is kept within
bounds, and is not read without an end.
"""

import os
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO

MOST_BYTES, MOST_LINES = 64 << 20, 1_000_000  # printed; lines count where they are looked at one by one
LONGEST_LINE_BYTES = 16 << 10  # a longer one comes in pieces
END_BYTES = 256 << 10  # kept of what is only looked at when the program fails
CHUNK_BYTES = 64 << 10
PIPE_BYTES = 1 << 20  # what a pipe holds at most (pipe(7))


class TooMuch(Exception):
    """The program printed more than is read. The text says how much that is."""


@dataclass
class Output:
    """What is printed into one pipe: at least the last ``most_bytes`` of it, and its lines as they come."""

    most_bytes: int = END_BYTES
    on_line: Callable[[str], None] | None = None
    kept: bytearray = field(default_factory=bytearray)
    _bytes: int = 0
    _lines: int = 0
    _line: bytes = b""

    def take(self, data: bytes) -> None:
        """What was printed. Raises TooMuch."""
        self._bytes += len(data)
        self.kept += data
        if len(self.kept) > 2 * self.most_bytes:
            del self.kept[: -self.most_bytes]
        if self.on_line is not None:
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._give(line)
            if len(self._line) > LONGEST_LINE_BYTES:
                self._give(self._line)
                self._line = b""
        if self._bytes > MOST_BYTES:
            raise TooMuch(f"{MOST_BYTES >> 20} MiB")

    def end(self) -> None:
        """Nothing comes any more: what has no end of line is one."""
        if self._line:
            self._give(self._line)

    def _give(self, line: bytes) -> None:
        assert self.on_line is not None
        for begin in range(0, len(line) or 1, LONGEST_LINE_BYTES):
            self._lines += 1
            if self._lines > MOST_LINES:
                raise TooMuch(f"{MOST_LINES:,} lines")
            self.on_line(line[begin : begin + LONGEST_LINE_BYTES].decode(errors="replace"))


def exchange(
    pid: int,
    outputs: Mapping[IO[bytes], Output],
    *,
    stdin: IO[bytes] | None = None,
    given: bytes = b"",
    timeout_s: float | None = None,
) -> None:
    """Write ``given``, read the outputs, until this child of ours has ended; who waits for it is the caller. Raises
    TooMuch, and TimeoutError when the time is over before."""
    deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    ended = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for pipe, output in outputs.items():
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, partial(_read, pipe, output))
            if stdin is not None:
                os.set_blocking(stdin.fileno(), False)
                selector.register(stdin, selectors.EVENT_WRITE, _Input(stdin, memoryview(given)).write)
            _until_ended(selector, ended, deadline_s)
    finally:
        os.close(ended)
    for pipe, output in outputs.items():
        for _ in range(PIPE_BYTES // CHUNK_BYTES):
            if not _read(pipe, output):
                break


def _until_ended(selector: selectors.BaseSelector, ended: int, deadline_s: float) -> None:
    while (left_s := deadline_s - time.monotonic()) > 0:
        for key, _ in selector.select(None if left_s == float("inf") else left_s):
            if key.fileobj == ended:
                return
            if not key.data():
                selector.unregister(key.fileobj)
    raise TimeoutError


def _read(pipe: IO[bytes], output: Output) -> bool:
    """Read what is there; false when nothing is, for now or for ever."""
    try:
        data = os.read(pipe.fileno(), CHUNK_BYTES)
    except BlockingIOError:
        return False
    output.take(data)
    return bool(data)


@dataclass
class _Input:
    pipe: IO[bytes]
    left: memoryview

    def write(self) -> bool:
        """Write what the pipe takes; false when all is written, or it has no reader, and the pipe is closed."""
        try:
            self.left = self.left[os.write(self.pipe.fileno(), self.left[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self.left = self.left[:0]
        if not self.left:
            self.pipe.close()
        return bool(self.left)
