"""Asking a guest's server once: an HTTP request or a few bytes over TCP. The time of an answer is when it sufficed."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from imagebuilder.machine.excerpt import excerpt, quoted
from imagebuilder.machine.spec import LOOPBACK
from imagebuilder.recipe.model import Http, Tcp

MOST_BYTES = 16 << 20  # of an answer in which a text is looked for, or which is fetched
MOST_LINES, HEAD_BYTES = 256, 64 << 10  # of its head
MOST_INTERIM = 16  # heads of interim answers
CHUNK_BYTES = 64 << 10
SHOWN_BYTES = 64 << 10  # of an answer that people look at
SHOWN_S = 1.0  # so long it may take to come, when it has sufficed already
WRONG_S = 0.010  # so long for the body of an answer that is wrong anyway
QUIET_S, QUIET_PART = 0.050, 0.1


class Unanswered(Exception):
    """No answer, or not the expected one; the text completes "port 80 …"."""


class Refused(Unanswered):
    """Not a byte came back: nothing listens."""


class Witness(Protocol):
    """Who wants to know more than whether an answer sufficed."""

    begun_s: float
    """When the first question was asked, by the host's monotonic clock in s."""

    @property
    def curious(self) -> bool:
        """Whether the answer itself is wanted: some more of it is then read, after its time was taken."""

    def tell(self, what: str) -> None:
        """How it stands so far, as the text of Unanswered."""

    def keep(self, answer: bytes, status: int | None = None) -> None:
        """What was answered, of HTTP the body; of much the beginning."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an HTTP answer, and how its body ends."""

    status: int
    length_bytes: int | None
    chunked: bool


async def ask_http(host_port: int, expected: Http, witness: Witness | None = None) -> int:
    """Ask once; returns the host's monotonic time in ns at which the answer sufficed, though its body go on for ever.
    Raises Unanswered."""
    async with _connected(host_port) as (reader, writer):
        writer.write(request(expected.path, host_port))
        head = await _head(reader)
        body = _body(reader, head)
        if head.status != expected.status:
            said = await _some(body, seconds=WRONG_S)
            with_it = f", with {quoted(said)}" if said else ""
            raise Unanswered(f"answered with HTTP status {head.status} instead of {expected.status}{with_it}")
        seen = b"" if expected.body is None else await _find(body, expected.body, "a body", witness)
        at_ns = time.monotonic_ns()
        if witness is not None and witness.curious:
            witness.keep(seen + await _some(body, seconds=SHOWN_S), head.status)
        return at_ns


async def fetch(host_port: int, path: str) -> tuple[int, bytes]:
    """Ask once, outside of any stopwatch; returns status and body. Raises Unanswered, for a body of more than
    ``MOST_BYTES`` too."""
    async with _connected(host_port) as (reader, writer):
        writer.write(request(path, host_port))
        head = await _head(reader)
        parts, size = [], 0
        async for part in _body(reader, head):
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise Unanswered(f"gave a body of more than {MOST_BYTES >> 20} MiB")
        return head.status, b"".join(parts)


async def ask_tcp(host_port: int, expected: Tcp, witness: Witness | None = None) -> int:
    """Connect, send and compare once; returns the time in ns as ``ask_http``. Raises Unanswered.

    With nothing to expect, any byte will do: that a connection is taken says nothing, since QEMU's user network takes
    every one by itself, at once.
    """
    async with _connected(host_port) as (reader, writer):
        if expected.send is not None:
            writer.write(expected.send.encode())
        if expected.expect is not None:
            parts = _until_quiet(reader, witness)
            seen = await _find(parts, expected.expect, "an answer", witness)
        elif not (seen := await reader.read(CHUNK_BYTES)):
            raise Refused("closed the connection without an answer")
        at_ns = time.monotonic_ns()
        if witness is not None:
            witness.keep(seen)
        return at_ns


def request(path: str, host_port: int) -> bytes:
    """The request of one GET, after which the server is asked to close."""
    lines = (f"GET {path} HTTP/1.1", f"Host: {LOOPBACK}:{host_port}", "User-Agent: imagebuilder", "Accept: */*")
    return "\r\n".join((*lines, "Connection: close", "", "")).encode()


@asynccontextmanager
async def _connected(host_port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, host_port)
    except OSError as error:
        raise Unanswered(f"refused the connection ({error.strerror})") from error
    try:
        yield reader, writer
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise (Refused if isinstance(error, EOFError | ConnectionError) else Unanswered)(_why(error)) from error
    finally:
        writer.close()


def _why(error: Exception) -> str:
    if isinstance(error, EOFError | ConnectionError):
        return "closed the connection without a whole answer"
    return f"gave an answer that cannot be read ({excerpt(str(error))})"


async def _head(reader: asyncio.StreamReader) -> Head:
    """Status line and headers (RFC 9112); interim answers (1xx) are passed over. Raises EOFError, ValueError."""
    for _ in range(MOST_INTERIM + 1):
        lines = await _lines(reader)
        status = lines[0].split(" ")[1] if re.match(r"HTTP/1\.\d ", lines[0]) else ""
        if not (status.isdecimal() and len(status) == 3):
            raise ValueError(f"it is not HTTP/1 but {quoted(lines[0])}")
        if not status.startswith("1"):
            return _read(int(status), lines[1:])
    raise ValueError(f"it has more than {MOST_INTERIM} interim answers")


def _read(status: int, lines: list[str]) -> Head:
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length", "")
    chunked = fields.get("transfer-encoding", "").lower().endswith("chunked")
    return Head(status, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None, chunked)


async def _lines(reader: asyncio.StreamReader) -> list[str]:
    """Up to and with an empty one."""
    lines, size = [""], 0
    while (len(lines) == 1 or lines[-1]) and len(lines) <= MOST_LINES:
        line = await reader.readuntil(b"\n")
        size += len(line)
        if size > HEAD_BYTES:
            raise ValueError(f"its head has more than {HEAD_BYTES >> 10} KiB")
        lines.append(line.decode("latin-1").strip())
    return lines[1:]


async def _body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    if head.chunked:
        async for data in _chunks(reader):
            yield data
    else:
        async for data in _rest(reader, head.length_bytes):
            yield data


async def _rest(reader: asyncio.StreamReader, length_bytes: int | None = None) -> AsyncIterator[bytes]:
    """What comes until the connection ends, or so many bytes."""
    left = length_bytes
    while left is None or left > 0:
        data = await reader.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
        if not data:
            return
        left = None if left is None else left - len(data)
        yield data


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The content of a chunked body (RFC 9112, 7.1)."""
    while size := int((await reader.readuntil(b"\n")).split(b";")[0], 16):
        async for data in _rest(reader, size):
            yield data
        await reader.readuntil(b"\n")


async def _until_quiet(reader: asyncio.StreamReader, witness: Witness | None) -> AsyncIterator[bytes]:
    """What comes until the connection ends; or, of a server that keeps it open, until nothing more has come for a
    while. The while grows, so that an answer in two parts is waited for, and one that has to be asked for again ("not
    yet") is late by a tenth at most."""
    quiet_s: float | None = None
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(quiet_s):
                data = await reader.read(CHUNK_BYTES)
            if not data and quiet_s is None:
                raise EOFError("not a byte")
            if not data:
                return
            yield data
            since_s = witness.begun_s if witness else time.monotonic()
            quiet_s = max(QUIET_S, QUIET_PART * (time.monotonic() - since_s))


async def _some(parts: AsyncIterator[bytes], *, seconds: float) -> bytes:
    """What comes of it by itself in so short a time; at most about ``SHOWN_BYTES``."""
    seen = b""
    with suppress(TimeoutError, OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        async with asyncio.timeout(seconds):
            async for part in parts:
                seen += part
                if len(seen) >= SHOWN_BYTES:
                    break
    return seen[:SHOWN_BYTES]


async def _find(parts: AsyncIterator[bytes], text: str, what: str, witness: Witness | None) -> bytes:
    """Read on until the text has come; returns what was read, of much the beginning."""
    wanted, rest, seen, seen_bytes = text.encode(), b"", b"", 0
    async for part in parts:
        seen_bytes += len(part)
        seen += part[: SHOWN_BYTES - len(seen)]
        if wanted in rest + part:
            return seen
        if seen_bytes > MOST_BYTES:
            break
        rest = (rest + part)[-len(wanted) :]
        if witness is not None:
            witness.tell(f"has given {what} without {quoted(text)} so far: {quoted(seen)}")
    raise Unanswered(f"gave {what} without {quoted(text)}: {quoted(seen)}")
