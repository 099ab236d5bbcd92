"""Asking a guest's server once: an HTTP request or a few bytes over TCP. The time of an answer is when it sufficed."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from imagebuilder.machine.spec import LOOPBACK
from imagebuilder.recipe.model import Http, Tcp

MOST_BYTES = 16 << 20  # of an answer in which a text is looked for
MOST_LINES = 256
CHUNK_BYTES = 64 << 10


class Unanswered(Exception):
    """No answer, or not the expected one; the text completes "port 80 …"."""


class Refused(Unanswered):
    """Not a byte came back: nobody listens."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an HTTP answer, and how its body ends."""

    status: int
    length_bytes: int | None
    chunked: bool


async def ask_http(host_port: int, expected: Http) -> int:
    """Ask once; returns the host's monotonic time in ns at which the answer sufficed. Raises Unanswered."""
    async with _connected(host_port) as (reader, writer):
        writer.write(request(expected.path, host_port))
        head = await _head(reader)
        if head.status != expected.status:
            raise Unanswered(f"answered with HTTP status {head.status} instead of {expected.status}")
        if expected.body is not None:
            await _find(_body(reader, head), expected.body, "a body")
        return time.monotonic_ns()


async def fetch(host_port: int, path: str) -> tuple[int, bytes]:
    """Ask once, outside of any stopwatch; returns status and body. Raises Unanswered."""
    async with _connected(host_port) as (reader, writer):
        writer.write(request(path, host_port))
        head = await _head(reader)
        return head.status, b"".join([part async for part in _body(reader, head)])


async def ask_tcp(host_port: int, expected: Tcp) -> int:
    """Connect, send and compare once; returns the time in ns as ``ask_http``. Raises Unanswered.

    With nothing to expect, any byte will do: that a connection is taken says nothing, since QEMU's user network takes
    every one by itself, at once.
    """
    async with _connected(host_port) as (reader, writer):
        if expected.send is not None:
            writer.write(expected.send.encode())
        if expected.expect is not None:
            await _find(_rest(reader), expected.expect, "an answer")
        elif not await reader.read(1):
            raise Refused("closed the connection without an answer")
        return time.monotonic_ns()


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
    return f"gave an answer that cannot be read ({error})"


async def _head(reader: asyncio.StreamReader) -> Head:
    """Status line and headers (RFC 9112); interim answers (1xx) are passed over. Raises EOFError, ValueError."""
    lines = [(await reader.readuntil(b"\n")).decode("latin-1").strip()]
    while lines[-1] and len(lines) < MOST_LINES:
        lines.append((await reader.readuntil(b"\n")).decode("latin-1").strip())
    status = lines[0].split(" ")[1] if re.match(r"HTTP/1\.\d ", lines[0]) else ""
    if not (status.isdecimal() and len(status) == 3):
        raise ValueError("it is not HTTP/1")
    if status.startswith("1"):
        return await _head(reader)
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    length = fields.get("content-length", "")
    chunked = fields.get("transfer-encoding", "").lower().endswith("chunked")
    return Head(int(status), int(length) if length.isdecimal() else None, chunked)


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


async def _find(parts: AsyncIterator[bytes], text: str, what: str) -> None:
    wanted, rest, seen_bytes = text.encode(), b"", 0
    async for part in parts:
        seen_bytes += len(part)
        if wanted in rest + part:
            return
        if seen_bytes > MOST_BYTES:
            break
        rest = (rest + part)[-len(wanted) :]
    if not seen_bytes:
        raise Refused("closed the connection without a whole answer")
    raise Unanswered(f"gave {what} without {text!r}")
