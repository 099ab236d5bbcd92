"""Asking servers: real ones on this machine, good and bad."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imagebuilder.machine.answers import Unanswered, ask_http, ask_tcp, fetch
from imagebuilder.machine.ports import free_ports
from imagebuilder.machine.ready import CROWD, INTERVAL_S, UNHURRIED_S, Attempts, first_answer
from imagebuilder.recipe.model import Http, Tcp

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HTTP = Http(port=80, body="It works")


@asynccontextmanager
async def server(serve: Serve, *, port: int = 0) -> AsyncIterator[int]:
    """A TCP server; gives its port."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(once, "127.0.0.1", port)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def saying(answer: bytes) -> Serve:
    """Serve these bytes to a request, then close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return serve


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nIt works",
        b"HTTP/1.0 200 OK\r\n\r\nYes. It works, you see.",
        b"HTTP/1.1 200 OK\nServer: odd\n\nIt works",
        b"HTTP/1.1 200\r\ncontent-LENGTH:8\r\n\r\nIt works",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nIt \r\n5;a=b\r\nworks\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nIt works",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000 + b"It works",
    ],
    ids=["length", "until-closed", "bare-newlines", "no-reason", "chunked", "interim", "large"],
)
async def test_answers_that_suffice(answer: bytes) -> None:
    begun_ns = time.monotonic_ns()
    async with server(saying(answer)) as port:
        assert begun_ns < await ask_http(port, HTTP) <= time.monotonic_ns()
        assert (await fetch(port, "/"))[0] == 200


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 503 Wait\r\n\r\nIt works", "answered with HTTP status 503 instead of 200"),
        (b"HTTP/1.1 200 OK\r\n\r\nIt fails", "gave a body without 'It works'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nIt works", "gave a body without 'It works'"),
        (b"", "closed the connection without a whole answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without a whole answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "closed the connection without a whole answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "gave an answer that cannot be read (it is not HTTP/1)"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "gave an answer that cannot be read (it is not HTTP/1)"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nIt works\r\n", "gave an answer that cannot be read"),
        (b"HTTP/1.1 200 OK" + b"x" * 100_000, "gave an answer that cannot be read"),
    ],
)
async def test_answers_that_do_not(answer: bytes, sentence: str) -> None:
    async with server(saying(answer)) as port:
        with pytest.raises(Unanswered) as caught:
            await ask_http(port, HTTP)
    assert sentence in str(caught.value)


async def test_a_status_alone_needs_no_body() -> None:
    """The answer counts when its head is there, though the body never ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 None\r\n\r\n")
        await reader.read()

    async with server(serve) as port:
        assert await ask_http(port, Http(port=80, status=204))


async def test_a_server_of_the_standard_library() -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"It works at {self.path} for {self.headers['Host']}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as real:
        thread = threading.Thread(target=real.serve_forever)
        thread.start()
        try:
            port = real.server_address[1]
            assert await ask_http(port, Http(port=80, path="/a?b", body=f"It works at /a?b for 127.0.0.1:{port}"))
        finally:
            real.shutdown()
            thread.join()


async def test_tcp_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"PING\r\n":
            writer.write(b"+PO")
            await writer.drain()
            writer.write(b"NG\r\n")

    async with server(serve) as port:
        assert await ask_tcp(port, Tcp(port=1, send="PING\r\n", expect="+PONG"))
        assert await ask_tcp(port, Tcp(port=1, send="PING\r\n"))
        with pytest.raises(Unanswered, match=r"without '\+PANG'"):
            await ask_tcp(port, Tcp(port=1, send="PING\r\n", expect="+PANG"))
        with pytest.raises(Unanswered, match="closed the connection without a whole answer"):
            await ask_tcp(port, Tcp(port=1, send="QUIT\r\n", expect="+PONG"))


async def test_nobody_there() -> None:
    with pytest.raises(Unanswered, match="refused the connection"):
        await ask_http(free_ports(1)[0], HTTP)


async def test_the_first_connection_that_is_answered_counts() -> None:
    """The trap of QEMU's user network: the first connections hang, later ones are answered."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections <= 5:
            await reader.read()  # until the other side gives up
        else:
            await saying(b"HTTP/1.1 200 OK\r\n\r\nIt works")(reader, writer)

    attempts = Attempts()
    async with server(serve) as port:
        assert await first_answer(partial(ask_http, port, HTTP), started=None, attempts=attempts)
    assert connections >= 6 and not attempts.waiting


async def test_a_server_that_comes_late_and_is_wrong_at_first() -> None:
    port = free_ports(1)[0]
    attempts = Attempts()
    asking = asyncio.create_task(first_answer(partial(ask_http, port, HTTP), started=None, attempts=attempts))
    await asyncio.sleep(3 * INTERVAL_S)
    assert attempts.last.startswith("refused")
    async with server(saying(b"HTTP/1.1 503 Soon\r\n\r\n"), port=port):
        while "503" not in attempts.last:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(INTERVAL_S)
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nIt works"), port=port):
        assert await asking


async def test_nobody_is_flooded_before_the_application_started() -> None:
    """Until then one connection in a while; afterwards at once, and more slowly the more are waiting."""
    begun: list[float] = []
    started = asyncio.Event()

    async def ask() -> int:
        begun.append(time.monotonic())
        await asyncio.Event().wait()
        return 0

    asking = asyncio.create_task(first_answer(ask, started=started, attempts=Attempts()))
    await asyncio.sleep(10 * INTERVAL_S)
    assert not begun
    started.set()
    await asyncio.sleep(60 * INTERVAL_S)
    asking.cancel()
    await asyncio.wait({asking})
    assert CROWD / 2 < len(begun) < 60, "neither too few, nor one each interval however many wait"


async def test_who_listened_before_is_asked_at_once() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nIt works")) as port:
        begun_s = time.monotonic()
        attempts = Attempts(at_once=True)
        await first_answer(partial(ask_http, port, HTTP), started=asyncio.Event(), attempts=attempts)
        assert time.monotonic() - begun_s < UNHURRIED_S


@pytest.mark.parametrize("steps", range(8))
async def test_an_answer_at_the_moment_at_which_one_may_ask_ends_the_asking(steps: int) -> None:
    started = asyncio.Event()

    async def start() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        started.set()

    async def ask() -> int:
        starting.append(asyncio.create_task(start()))
        return 1

    starting: list[asyncio.Task[None]] = []
    asking = asyncio.create_task(first_answer(ask, started=started, attempts=Attempts(at_once=True)))
    await asyncio.wait([asking], timeout=UNHURRIED_S)
    assert asking.done() and asking.result() == 1


async def test_what_is_wrong_with_us_is_not_swallowed() -> None:
    async def ask() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first_answer(ask, started=None, attempts=Attempts())


async def test_when_somebody_began_to_listen() -> None:
    """Seen by the first connection that was not refused: whoever came before one that was, came too early."""
    attempts = Attempts()
    first, second, third, fourth = tasks = [asyncio.create_task(asyncio.sleep(0, number)) for number in range(4)]
    for task in tasks:
        attempts.note(task)
        await asyncio.sleep(0.001)
    opened_ns = dict(attempts.opened_ns)
    assert attempts.listening_ns == opened_ns[first]
    attempts.refused(second)
    attempts.refused(first)
    assert attempts.listening_ns == opened_ns[third]
    attempts.refused(fourth)
    assert attempts.listening_ns is None


async def test_a_server_that_says_no_listens() -> None:
    started, attempts = asyncio.Event(), Attempts()
    started.set()
    async with server(saying(b"HTTP/1.1 503 Not yet\r\n\r\n")) as port:
        asking = first_answer(partial(ask_http, port, HTTP), started=started, attempts=attempts)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking, 0.5)
    assert attempts.listening_ns is not None
    assert attempts.listening_ns == min(attempts.opened_ns.values())


async def test_nobody_is_seen_to_listen_before_the_application_started() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nIt works")) as port:
        attempts = Attempts()
        await first_answer(partial(ask_http, port, HTTP), started=asyncio.Event(), attempts=attempts)
    assert attempts.listening_ns is None
