"""What a machine says: its init, its console, QEMU, its servers."""

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagebuilder import pages
from imagebuilder.fleet.http import HEAD_BYTES, Unreadable, read_answer, read_request
from imagebuilder.machine.answers import Unanswered, ask_http, ask_tcp, fetch
from imagebuilder.machine.channel import Channel
from imagebuilder.machine.console import Console
from imagebuilder.machine.diagnosis import Seen, failed
from imagebuilder.machine.ending import Facts, judge
from imagebuilder.machine.qmp import Qmp
from imagebuilder.measure import initcalls
from imagebuilder.platforms.values import MostAhead
from imagebuilder.recipe.model import Http, Tcp
from imagebuilder.tree import Tree, file
from tests.fuzz.doors.door import Door

CHANNEL = (
    b"1 phase init 300\n2 watch listening\n3 clock 1000\n4 phase application 450\n5 left 2\n6 exit 3\n7 signal 9\n",
    b"8 memory total=100 free=1 available=2 cached=3 slab=4 buffers=5\n9 pages 0 1 2 7 9\n10 done pages\n",
    b"11 listens 0100007F:0050\n12 listens 00000000000000000000000001000000:1F90\n13 done sockets\n14 error no /x\n",
)
CONSOLE = (
    b"[    0.000001] Linux version 6\ninitcall a+0x0/0x10 returned 0 after 12 usecs\ninit: no /x\nhello aaaaaaaaaa\r\n",
    b"Kernel panic - not syncing: x\nOut of memory: Killed process 12 (app)\nTraceback (most recent call last):\n"
    b'  File "a.py", line 1, in <module>\nOSError: [Errno 97] Address family not supported\n',
)
QMP = (
    b'{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n'
    b'--\r\n{"return": {}}\r\n--\r\n'
    b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME", "data": {"a": 1}}\r\n'
    b'{"return": {"status": "running"}, "id": "__qmp#00000"}\r\n',
)
HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\n+PONG",
)
REQUESTS = (
    b"PUT /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: x\r\nX: y\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
)


def _run(coroutine: Coroutine[Any, Any, object]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


def _channel(data: bytes, _folder: Path) -> None:
    async def hear() -> None:
        channel = Channel()
        memory = channel.ask_memory()
        channel.reports.ask("pages")
        channel.reports.ask("sockets")
        for at in range(0, len(data), 997):
            channel.data_received(data[at : at + 997])
        channel.reports.phases_ns(not_before_ns=0)
        channel.reports.clone_phases_ns(resumed_ns=0)
        tree, names = Tree({"/a": file(b"x" * 9000)}), ["/a"]
        found = {each.file: each.ranges for each in channel.reports.pages if each.file < len(names)}
        pages.learned(tree, names, found, MostAhead(files=64, parts=512))
        channel.connection_lost(None)
        assert memory.done()

    _run(hear())


def _console(data: bytes, _folder: Path) -> None:
    async def hear() -> None:
        console = Console()
        seen = console.watch("(a+)+b$")
        for at in range(0, len(data), 997):
            console.data_received(data[at : at + 997])
        initcalls.parse(console.text)
        said = Seen("app", 32, console=console.text)
        failed(said, judge(Facts(panic=console.text[:200], qemu_said=console.text)), "before it was ready")
        seen.cancel()

    _run(hear())


async def _answers(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As QEMU: a greeting, and then something for each command."""
    with suppress(OSError, asyncio.CancelledError):
        for part in data.split(b"\r\n--\r\n")[:8]:
            writer.write(part + b"\r\n")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.read(4096)
        writer.close()


def _qmp(data: bytes, _folder: Path) -> None:
    async def hear() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=theirs)
        answers = asyncio.create_task(_answers(data, reader, writer))
        qmp = Qmp("odd", lambda _event: None)
        try:
            await qmp.connect(ours)
            await qmp.execute("query-status")
        finally:
            await qmp.close()
            answers.cancel()
            writer.close()

    _run(hear())


def _answer(data: bytes, _folder: Path) -> None:
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(data)
            writer.write_eof()
            await reader.read()  # until the client has gone
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.create_task(serve(reader, writer)))

    async def ask() -> None:
        async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            for asked in (
                ask_http(port, Http(port=80, body="hello")),
                fetch(port, "/"),
                ask_tcp(port, Tcp(port=80, expect="PONG")),
            ):
                with suppress(Unanswered):
                    await asked
            await asyncio.gather(*served)

    _run(ask())


def _served(data: bytes, _folder: Path) -> None:
    class Sink:
        def write(self, data: bytes) -> None:
            """Goes nowhere."""

    async def hear() -> None:
        for read, words in ((read_request, (Sink(), 1 << 14)), (read_answer, ("GET", 1 << 14))):
            reader = asyncio.StreamReader(limit=HEAD_BYTES)
            reader.feed_data(data)
            reader.feed_eof()
            with suppress(Unreadable, EOFError):
                (await read(reader, *words)).to_bytes()

    _run(hear())


ROWS = (
    Door("channel", "lines of the guest's init", _channel, CHANNEL),
    Door("console", "the guest's console", _console, CONSOLE),
    Door("qmp", "QEMU's monitor", _qmp, QMP, refusals=(EOFError, OSError)),
    Door("answer", "answers of a guest's server to a probe", _answer, HTTP),
    Door("served", "requests to serve, and answers to them", _served, (*REQUESTS, *HTTP)),
)
