"""HTTP/1 as far as a small proxy needs it, by h11: messages are read whole, within limits, and written again.

What comes from either side is foreign: a length that can be understood in two ways is refused, and nothing is passed on
but what was understood.
"""

import asyncio
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

HEAD_BYTES = 32 << 10
PIECE_BYTES = 8 << 10
# Of one connection, never passed on (RFC 9110, 7.6.1); the length is written again.
HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "expect", "content-length"}
)  # fmt: skip
BODILESS = frozenset({204, 304})
NO_HEAD = "begins with no line of HTTP/1 and headers that can be understood"
NO_CHUNK = "has a chunk that is none"
CONTINUE = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")

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
        own = HOP | {word.strip().lower() for word in options.split(",")} - {"host"}
        return tuple((key, value) for key, value in self.headers if key.lower() not in own)

    def _rows(self, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """As h11 takes them; the connection is for this message alone."""
        rows = (*self.passed_on, *more.items(), ("Connection", "close"))
        return [(key.encode(), value.encode("latin-1")) for key, value in rows]


@dataclass(frozen=True, slots=True)
class Request(Message):
    """What a client asks for."""

    method: str = "GET"
    target: str = "/"

    def to_bytes(self, more: Mapping[str, str] | None = None) -> bytes:
        """As it is sent on, with further headers."""
        length = {"Content-Length": str(len(self.body))} if self.body or self.value("content-length") else {}
        host = {"Host": "localhost"} if self.value("host") is None else {}  # HTTP/1.0 asks for none, HTTP/1.1 does
        rows = self._rows({**host, **(more or {}), **length})
        head = h11.Request(method=self.method, target=self.target, headers=rows)
        return (h11.Connection(h11.CLIENT).send(head) or b"") + self.body


@dataclass(frozen=True, slots=True)
class Response(Message):
    """What a server says to it. ``bodiless`` has no body, whatever its headers say of one."""

    status: int = 200
    reason: str = ""
    bodiless: bool = False
    ours: bool = False
    """No server said it: it stands for an answer that did not come."""

    def to_bytes(self, more: Mapping[str, str] | None = None) -> bytes:
        """As it is sent back, with further headers."""
        length = self.value("content-length") if self.bodiless else str(len(self.body))
        lengths = {} if length is None or self.status in BODILESS else {"Content-Length": length}
        rows = self._rows({**(more or {}), **lengths})
        head = h11.Response(status_code=self.status, reason=self.reason.encode("latin-1"), headers=rows)
        return (h11.Connection(h11.SERVER).send(head) or b"") + self.body


def plain(status: int, reason: str, sentence: str) -> Response:
    """An answer of our own: one sentence."""
    headers = (("Content-Type", "text/plain; charset=utf-8"),)
    return Response(headers, f"{sentence}\n".encode(), status=status, reason=reason, ours=True)


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int) -> Request:
    """The whole request. Raises Unreadable, TooLarge, EOFError, OSError."""
    link = h11.Connection(h11.SERVER, HEAD_BYTES)
    head = await _head(link, reader)
    assert isinstance(head, h11.Request)
    if int(dict(head.headers).get(b"content-length", 0)) > most_bytes:  # before the client is asked to go on
        raise TooLarge(f"is longer than {most_bytes} bytes")
    if link.they_are_waiting_for_100_continue:
        writer.write(link.send(CONTINUE) or b"")
    body = await _body(link, reader, most_bytes)
    return Request(_text(head), body, head.method.decode(), head.target.decode())


async def read_answer(reader: asyncio.StreamReader, method: str, most_bytes: int) -> Response:
    """The whole answer to a request of that method. Raises as ``read_request``."""
    link = h11.Connection(h11.CLIENT, HEAD_BYTES)
    link.send(h11.Request(method=method, target="/", headers=[("Host", "")]))  # which decides whether a body follows
    head = await _head(link, reader)
    assert isinstance(head, h11.Response)
    bodiless = method == "HEAD" or head.status_code in BODILESS
    body = await _body(link, reader, most_bytes)
    return Response(_text(head), body, head.status_code, head.reason.decode("latin-1"), bodiless)


async def _head(link: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | h11.Response:
    """The first line and the headers, after what a server says in between."""
    while isinstance(head := await _event(link, reader, NO_HEAD), h11.InformationalResponse):
        pass
    if not isinstance(head, h11.Request | h11.Response):
        raise EOFError("nothing came")
    if head.http_version not in (b"1.0", b"1.1"):
        raise Unreadable("begins with no line of HTTP/1")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in head.headers}:
        raise Unreadable("says its length in two ways")
    return head


async def _body(link: h11.Connection, reader: asyncio.StreamReader, most_bytes: int) -> bytes:
    """The rest of the message, without what trails it."""
    body = bytearray()
    while isinstance(event := await _event(link, reader, NO_CHUNK), h11.Data):
        body += event.data
        if len(body) > most_bytes:
            raise TooLarge(f"is longer than {most_bytes} bytes")
    return bytes(body)


async def _event(link: h11.Connection, reader: asyncio.StreamReader, otherwise: str) -> object:
    """What comes next, in h11's words. ``otherwise`` is what to say of bytes that make no sense there."""
    try:
        while (event := link.next_event()) is h11.NEED_DATA:
            link.receive_data(await reader.read(PIECE_BYTES))
    except h11.RemoteProtocolError as error:
        _, closed = link.trailing_data
        if closed:
            raise EOFError("it broke off") from error
        if error.error_status_hint == 431:
            raise TooLarge(f"has a line or a head longer than {HEAD_BYTES} bytes") from error
        raise Unreadable(f"{otherwise} ({textwrap.shorten(str(error), 120)})") from error
    return event


def _text(head: h11.Request | h11.Response) -> Headers:
    return tuple((key.decode(), value.decode("latin-1")) for key, value in head.headers.raw_items())
