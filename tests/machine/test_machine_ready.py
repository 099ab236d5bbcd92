"""Asking servers: real ones on this machine, good and bad."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imagebuilder.machine import ready as readiness
from imagebuilder.machine.answers import SHOWN_S, Unanswered, ask_http, ask_tcp, fetch
from imagebuilder.machine.ports import free_ports
from imagebuilder.machine.ready import CROWD, INTERVAL_S, RING, UNHURRIED_S, Attempts, Port, first_answer
from imagebuilder.recipe.model import Http, Tcp

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HTTP = Http(port=80, body="It works")
NEVER_S = 240.0  # so long nobody waits in vain


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
        (b"HTTP/1.1 503 Wait\r\n\r\nIt works", "answered with HTTP status 503 instead of 200, with 'It works'"),
        (b"HTTP/1.1 503 Wait\r\nContent-Length: 0\r\n\r\n", "answered with HTTP status 503 instead of 200"),
        (b"HTTP/1.1 200 OK\r\n\r\nIt\tfails\xff", r"gave a body without 'It works': 'It\tfails\xff'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nIt works", "gave a body without 'It works': 'It '"),
        (b"", "closed the connection without a whole answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without a whole answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "gave a body without 'It works': ''"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "gave an answer that cannot be read (it has more than 16 interim"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be read (it is not HTTP/1 but 'SSH-2.0-OpenSSH')"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "cannot be read (it is not HTTP/1 but 'HTTP/1.1 2x0 OK')"),
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
        assert await first_answer(partial(ask_http, port, HTTP), port=Port(), attempts=attempts)
    assert connections >= 6 and not attempts.waiting


async def test_a_server_that_comes_late_and_is_wrong_at_first() -> None:
    port = free_ports(1)[0]
    attempts = Attempts()
    asking = asyncio.create_task(first_answer(partial(ask_http, port, HTTP), port=Port(), attempts=attempts))
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

    asking = asyncio.create_task(first_answer(ask, port=Port(started), attempts=Attempts()))
    await asyncio.sleep(10 * INTERVAL_S)
    assert not begun
    started.set()
    since_s = time.monotonic()
    while len(begun) <= CROWD / 2 or time.monotonic() - since_s < 60 * INTERVAL_S:  # noqa: ASYNC110
        await asyncio.sleep(INTERVAL_S)
    asking.cancel()
    await asyncio.wait({asking})
    assert len(begun) < (time.monotonic() - since_s) / INTERVAL_S, "not one each interval however many wait"


async def test_nobody_is_asked_before_the_application_runs() -> None:
    """A busy host needs seconds to boot: what is opened meanwhile reaches the application when nobody waits for it."""
    begun: list[float] = []

    async def ask() -> int:
        begun.append(time.monotonic())
        return 1

    running = False
    port = Port(asyncio.Event(), running=lambda: running)
    asking = asyncio.create_task(first_answer(ask, port=port, attempts=Attempts()))
    await asyncio.sleep(1.5 * UNHURRIED_S)
    assert not begun
    running, since_s = True, time.monotonic()
    assert await asyncio.wait_for(asking, 60) == 1
    assert begun[0] - since_s >= UNHURRIED_S, "nobody says that it may be asked: it is asked in a while"


async def test_who_listened_before_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "UNHURRIED_S", NEVER_S)
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nIt works")) as port:
        attempts = Attempts(at_once=True)
        asking = first_answer(partial(ask_http, port, HTTP), port=Port(asyncio.Event()), attempts=attempts)
        await asyncio.wait_for(asking, NEVER_S / 2)


@pytest.mark.parametrize("steps", range(8))
async def test_an_answer_at_the_moment_at_which_one_may_ask_ends_the_asking(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "UNHURRIED_S", NEVER_S)
    started = asyncio.Event()

    async def start() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        started.set()

    async def ask() -> int:
        starting.append(asyncio.create_task(start()))
        return 1

    starting: list[asyncio.Task[None]] = []
    asking = asyncio.create_task(first_answer(ask, port=Port(started), attempts=Attempts(at_once=True)))
    assert await asyncio.wait_for(asking, NEVER_S / 2) == 1


async def test_what_is_wrong_with_us_is_not_swallowed() -> None:
    async def ask() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first_answer(ask, port=Port(), attempts=Attempts())


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
        asking = first_answer(partial(ask_http, port, HTTP), port=Port(started), attempts=attempts)
        task = asyncio.create_task(asking)
        while "503" not in attempts.last:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(INTERVAL_S)
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled() and attempts.listening_ns is not None
    assert attempts.listening_ns == min(attempts.opened_ns.values())


async def test_nobody_is_seen_to_listen_before_the_application_started() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\nIt works")) as port:
        attempts = Attempts()
        await first_answer(partial(ask_http, port, HTTP), port=Port(asyncio.Event()), attempts=attempts)
    assert attempts.listening_ns is None


# A server that takes its time, and one request at a time


@dataclass
class Slow:
    """Takes a connection at a time, works on it whether anybody still waits or not, and answers."""

    work_s: float
    answer: bytes = b"HTTP/1.1 200 OK\r\n\r\nIt works"
    served: int = 0
    for_nobody: int = 0

    async def run(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await asyncio.sleep(self.work_s)
                self.served += 1
                try:
                    await loop.sock_sendall(connection, self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    if await loop.sock_recv(connection, 4096) == b"":  # it asked nothing
                        self.for_nobody += 1
                except OSError:
                    self.for_nobody += 1


@asynccontextmanager
async def slow_server(slow: Slow) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        running = asyncio.create_task(slow.run(listener))
        try:
            yield listener.getsockname()[1]
        finally:
            running.cancel()
            await asyncio.wait({running})


def told() -> Port:
    """Of an application that is known to listen."""
    started = asyncio.Event()
    started.set()
    return Port(started, lambda: True)


async def test_a_slow_server_is_asked_once_when_it_is_known_to_listen() -> None:
    slow = Slow(work_s=1.3 * UNHURRIED_S)
    async with slow_server(slow) as port:
        await first_answer(partial(ask_http, port, HTTP), port=told(), attempts=Attempts())
        await first_answer(partial(ask_http, port, HTTP), port=told(), attempts=Attempts())
    assert (slow.served, slow.for_nobody) == (2, 0), "nothing was left in its backlog, to be served before the second"


async def test_a_slow_server_is_not_flooded_when_nobody_says_that_it_listens() -> None:
    """Its connections are seen to be taken: no further ones are opened beside them."""

    async def taken() -> bool:
        return True

    slow = Slow(work_s=0.4)
    async with slow_server(slow) as port:
        asked = Port(taken=taken)
        attempts = Attempts()
        await first_answer(partial(ask_http, port, HTTP), port=asked, attempts=attempts)
        assert len(attempts.opened_ns) == 0 and slow.served == 1
        await asyncio.sleep(RING * slow.work_s)
    assert slow.served <= RING


async def test_a_guest_that_refused_is_known_to_take_what_it_does_not_refuse() -> None:
    """Also where nobody sees what it takes, as of a bare machine."""
    port = free_ports(1)[0]
    attempts = Attempts()

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As QEMU's user network passes a refusal on."""

    asking = None
    async with server(refusing, port=port):
        asking = asyncio.create_task(first_answer(partial(ask_http, port, HTTP), port=Port(), attempts=attempts))
        while not attempts.reachable:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(INTERVAL_S)
    slow = Slow(work_s=1.3 * UNHURRIED_S)
    with socket.create_server(("127.0.0.1", port), reuse_port=False) as listener:
        listener.setblocking(False)
        running = asyncio.create_task(slow.run(listener))
        await asking
        running.cancel()
        await asyncio.wait({running})
    assert (slow.served, slow.for_nobody) == (1, 0)


async def test_what_the_guest_never_took_makes_room_for_fresh_ones() -> None:
    """The trap of QEMU's user network, seen from its table of connections."""
    begun: list[int] = []

    async def nothing() -> bool:
        return False

    async def ask() -> int:
        begun.append(len(begun))
        if len(begun) == 3 * RING:
            return 1
        await asyncio.Event().wait()
        return 0

    attempts = Attempts()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(attempts.waiting))
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    assert await first_answer(ask, port=Port(taken=nothing), attempts=attempts) == 1
    watching.cancel()
    assert most <= RING + 1 and not attempts.begun_ns


async def test_a_clone_whose_first_connection_was_lost_is_asked_again() -> None:
    async def taken() -> bool:
        return False

    async def ask() -> int:
        begun.append(time.monotonic())
        if len(begun) == 1:
            await asyncio.Event().wait()
        return 1

    begun: list[float] = []
    port = Port(asyncio.Event(), lambda: True, taken)
    await first_answer(ask, port=port, attempts=Attempts(at_once=True))
    assert begun[1] - begun[0] >= UNHURRIED_S


async def test_not_yet_is_asked_again_soon_and_not_all_the_time() -> None:
    """A server that says "not yet" rests as long as it took to say so."""
    slow = Slow(work_s=0.1, answer=b"HTTP/1.1 503 Soon\r\nContent-Length: 0\r\n\r\n")
    async with slow_server(slow) as port:
        asking = asyncio.create_task(
            first_answer(partial(ask_http, port, HTTP), port=told(), attempts=(attempts := Attempts()))
        )
        since_s, already = time.monotonic(), slow.served
        while slow.served < already + 4:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(slow.work_s / 10)
        assert time.monotonic() - since_s > 5 * slow.work_s, "three rests and three answers are between four"
        assert slow.for_nobody == 0
        slow.answer = b"HTTP/1.1 200 OK\r\n\r\nIt works"
        await asking
    assert "503" in attempts.last


async def test_a_tcp_answer_that_keeps_the_connection_open_is_asked_for_again() -> None:
    """As of Redis, while it loads."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readline()
        writer.write(b"-LOADING it\0\r\n" if asked < 4 else b"+PONG\r\n")
        await reader.read()

    attempts = Attempts()
    async with server(serve) as port:
        question = partial(ask_tcp, port, Tcp(port=1, send="PING\r\n", expect="+PONG"), attempts)
        await first_answer(question, port=told(), attempts=attempts)
    assert asked == 4
    assert attempts.last == r"gave an answer without '+PONG': '-LOADING it\x00\r\n'"
    assert attempts.answer is not None and attempts.answer.content == b"+PONG\r\n"


async def test_a_stream_that_never_ends_answers_when_its_text_has_come() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            writer.write(b"data: It works\n\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    attempts = Attempts(curious=True)
    async with server(serve) as port:
        for http in (HTTP, Http(port=80)):
            at_ns = await ask_http(port, http, attempts)
            assert time.monotonic_ns() - at_ns > SHOWN_S * 5e8, "what is looked at besides is not waited for"
            assert attempts.answer is not None and attempts.answer.content.startswith(b"data: It works")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask_http(port, Http(port=80, body="never"), attempts), 0.2)
        assert attempts.last.startswith("has given a body without 'never' so far: 'data: It works")
        assert len(attempts.last) < 200
        await asyncio.sleep(0.1)  # the server sees that nobody reads


async def test_a_body_without_an_end_is_not_fetched_for_ever() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * (1 << 16))
            await writer.drain()

    async with server(serve) as port:
        with pytest.raises(Unanswered, match="gave a body of more than 16 MiB"):
            await fetch(port, "/")
