"""HTTP/1 as far as a small proxy needs it (RFC 9112): messages are read whole, within limits, and written anew.

What comes from either side is foreign: a head that can be understood in two ways is refused, and nothing of it is
passed on but what was understood.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,8192}) HTTP/1\.[01]")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")
SIZE = re.compile(rb"[0-9]{1,15}")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t -~\x80-\xff]*)?")
HEAD_BYTES = 32 << 10
# Of one connection, never passed on (RFC 9110, 7.6.1); the length is written anew.
HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "expect", "content-length"}
)  # fmt: skip
BODILESS = frozenset({204, 304})
INTERIM = range(100, 200)

Headers = tuple[tuple[str, str], ...]


class Unreadable(Exception):
    """It is no HTTP/1 that could be passed on; the text completes a sentence that begins with "it"."""


class TooLarge(Unreadable):
    """It is longer than is allowed here."""


@dataclass(frozen=True, slots=True)
class Message:
    """Headers and a whole body."""

    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)

    def value(self, name: str) -> str | None:
        """The first header of this name, in lower case letters."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def passed_on(self) -> Headers:
        """The headers that are not of this connection alone."""
        options = ",".join(value for key, value in self.headers if key.lower() == "connection")
        own = HOP | {word.strip().lower() for word in options.split(",")}
        return tuple((key, value) for key, value in self.headers if key.lower() not in own)


@dataclass(frozen=True, slots=True)
class Request(Message):
    """What a client asks for."""

    method: str = "GET"
    target: str = "/"

    def to_bytes(self, more: Mapping[str, str] | None = None) -> bytes:
        """As it is sent on, with further headers; the connection is for it alone."""
        length = {"Content-Length": str(len(self.body))} if self.body or self.value("content-length") else {}
        return _written(f"{self.method} {self.target} HTTP/1.1", self.passed_on, {**(more or {}), **length}, self.body)


@dataclass(frozen=True, slots=True)
class Answer(Message):
    """What a server says to it. ``bodiless`` has no body, whatever its headers say of one."""

    status: int = 200
    reason: str = ""
    bodiless: bool = False
    ours: bool = False
    """No server said it: it stands for an answer that did not come."""

    def to_bytes(self, more: Mapping[str, str] | None = None) -> bytes:
        """As it is sent back."""
        length = self.value("content-length") if self.bodiless else str(len(self.body))
        lengths = {} if length is None or self.status in BODILESS else {"Content-Length": length}
        return _written(f"HTTP/1.1 {self.status} {self.reason}", self.passed_on, {**(more or {}), **lengths}, self.body)


def plain(status: int, reason: str, sentence: str) -> Answer:
    """An answer of our own: one sentence."""
    headers = (("Content-Type", "text/plain; charset=utf-8"),)
    return Answer(headers, f"{sentence}\n".encode(), status=status, reason=reason, ours=True)


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int) -> Request:
    """The whole request. Raises Unreadable, TooLarge, EOFError, OSError."""
    line, headers = await _head(reader)
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Unreadable("begins with no line of HTTP/1")
    head = Request(headers, method=match[1].decode(), target=match[2].decode())
    length = _length(headers)
    if (length or 0) > most_bytes:
        raise TooLarge(f"is longer than {most_bytes} bytes")
    if (head.value("expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, headers, 0 if length is None else length, most_bytes)
    return Request(headers, body, head.method, head.target)


async def read_answer(reader: asyncio.StreamReader, method: str, most_bytes: int) -> Answer:
    """The whole answer to a request of that method. Raises as ``read_request``."""
    status, reason, headers = await _status(reader)
    while status in INTERIM:
        status, reason, headers = await _status(reader)
    length = _length(headers)
    if method == "HEAD" or status in BODILESS:
        return Answer(headers, status=status, reason=reason, bodiless=True)
    return Answer(headers, await _body(reader, headers, length, most_bytes), status=status, reason=reason)


async def _status(reader: asyncio.StreamReader) -> tuple[int, str, Headers]:
    line, headers = await _head(reader)
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise Unreadable("begins with no line of HTTP/1")
    return int(match[1]), (match[2] or b"").decode("latin-1"), headers


def parse_head(text: bytes) -> tuple[bytes, Headers]:
    """The first line, and the headers: of lines that each end with CR LF, without the empty one. Raises Unreadable."""
    first, *lines = text.split(b"\r\n")
    return first, tuple(map(_header, lines))


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
        raise Unreadable("has a header that is none")
    return name.decode(), value.strip(b"\t ").decode("latin-1")


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, Headers]:
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise TooLarge(f"has a head longer than {HEAD_BYTES} bytes") from error
    return parse_head(text[:-4])


def _length(headers: Headers) -> int | None:
    """What the headers say of the body's length; None: nothing, or chunks tell. Raises Unreadable."""
    lengths = {value for key, value in headers if key.lower() == "content-length"}
    if lengths and _encodings(headers):
        raise Unreadable("says its length in two ways")
    if len(lengths) > 1 or not all(SIZE.fullmatch(each.encode("latin-1")) for each in lengths):
        raise Unreadable("says no length that can be understood")
    return int(lengths.pop()) if lengths else None


def _encodings(headers: Headers) -> list[str]:
    return [value.lower() for key, value in headers if key.lower() == "transfer-encoding"]


async def _body(reader: asyncio.StreamReader, headers: Headers, length: int | None, most_bytes: int) -> bytes:
    """So many bytes, or chunks, or all until the connection ends."""
    encodings = _encodings(headers)
    if encodings and encodings != ["chunked"]:
        raise Unreadable(f"is encoded as {', '.join(encodings)}, which is not known here")
    if encodings:
        return await _chunks(reader, most_bytes)
    if length is not None and length > most_bytes:
        raise TooLarge(f"is longer than {most_bytes} bytes")
    if length is not None:
        return await reader.readexactly(length)
    body = b""
    while data := await reader.read(HEAD_BYTES):
        body += data
        if len(body) > most_bytes:
            raise TooLarge(f"is longer than {most_bytes} bytes")
    return body


async def _chunks(reader: asyncio.StreamReader, most_bytes: int) -> bytes:
    """A chunked body (RFC 9112, 7.1); what trails it is dropped."""
    body = bytearray()
    while size := await _chunk_bytes(reader):
        if len(body) + size > most_bytes:
            raise TooLarge(f"is longer than {most_bytes} bytes")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise Unreadable("has a chunk that is none")
    while await _line(reader):
        pass
    return bytes(body)


async def _chunk_bytes(reader: asyncio.StreamReader) -> int:
    match = CHUNK_LINE.fullmatch(await _line(reader))
    if match is None:
        raise Unreadable("has a chunk that is none")
    return int(match[1], 16)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except asyncio.LimitOverrunError as error:
        raise TooLarge(f"has a line longer than {HEAD_BYTES} bytes") from error


def _written(line: str, headers: Headers, more: Mapping[str, str], body: bytes) -> bytes:
    rows = [line, *(f"{key}: {value}" for key, value in (*headers, *more.items())), "Connection: close", "", ""]
    return "\r\n".join(rows).encode("latin-1") + body
