"""A guest is not trusted: what it can make us keep is bounded, and what it sends costs no more than its time."""

import asyncio
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from imagebuilder.machine.answers import HEAD_BYTES, Unanswered, ask_http
from imagebuilder.machine.channel import Channel
from imagebuilder.machine.child import OUTPUT_BYTES, Child
from imagebuilder.machine.messages import COMMANDS
from imagebuilder.recipe.model import Http

from .test_machine_ready import server

MOST_BYTES = 32 << 20
LINES = 4_000
FLOODS = {
    "done": "1 done X{}\n",
    "done of ours": "1 done {}thaw\n",
    "phases": "1 phase a{} 5\n",
    "pages": "1 pages 1" + " 7 7" * 200 + " {} 1\n",
    "listens": "1 listens 0100007F:0050\n1 listens {:08X}:0050\n",
    "nonsense": "{}" + "x" * 4000 + "\n",
    "no end of a line": "{}" + "x" * 4000,
    "memory": "1 memory total={} free=4 available=3 cached=2 slab=1\n",
    "left": "1 left {}\n",
    "error": "1 error {}" + "x" * 1000 + "\n",
}


def chunks(line: str) -> Iterator[bytes]:
    for begin in range(0, LINES, 50):
        yield "".join(
            line.replace("{}", str(n)).replace("{:08X}", f"{n:08X}") for n in range(begin, begin + 50)
        ).encode()


@pytest.mark.parametrize("asked", [False, True], ids=["nobody asks", "asked for"])
@pytest.mark.parametrize("line", FLOODS.values(), ids=FLOODS.keys())
async def test_what_a_guest_reports_is_kept_in_bounds(line: str, asked: bool) -> None:
    """Four thousand different lines of each kind: an application that is root can take init's port."""
    channel = Channel()
    for command in COMMANDS if asked else ():
        channel.done(command)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for data in chunks(line):
            channel.data_received(data)
        del data
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < (MOST_BYTES if asked else 256 << 10)
    channel.connection_lost(None)


async def test_only_what_was_asked_for_is_kept() -> None:
    channel = Channel()
    channel.data_received(b"1 pages 1 7 7\n1 listens 0100007F:0050\n1 done pages\n1 done breakfast\n")
    assert not channel.reports.pages and not channel.reports.listens and set(channel.reports.done_ns) == {"pages"}
    pages, sockets = channel.done("pages"), channel.done("sockets")
    channel.data_received(b"1 pages 1 7 7\n1 listens 0100007F:0050\n1 done pages\n1 done sockets\n2 pages 1 8 8\n")
    assert pages.done() and sockets.done()
    assert [told.ranges for told in channel.reports.pages] == [((7, 7),)]
    assert [str(told) for told in channel.reports.listens] == ["127.0.0.1:80"]


@pytest.mark.tools
def test_what_a_qemu_says_is_kept_in_bounds() -> None:
    """A guest can have QEMU's devices complain without an end."""
    child = Child.spawn(["sh", "-c", "echo the first; yes complaint | head -c 3000000; echo the last; exit 0"])
    try:
        assert child.wait_for(300) == 0
        said = child.output
    finally:
        child.close()
    assert said.startswith("the first\ncomplaint\n") and len(said) <= OUTPUT_BYTES
    assert child.output == said


async def test_a_head_without_an_end_is_not_read_for_ever() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x: " + b"y" * 10_000 + b"\r\n")
            await writer.drain()

    async with server(serve) as port:
        with pytest.raises(Unanswered, match=f"its head has more than {HEAD_BYTES >> 10} KiB"):
            await ask_http(port, Http(port=80))
        await asyncio.sleep(0.1)


async def test_a_flood_on_the_channel_does_not_hold_up_the_loop() -> None:
    """Between two pieces of a flood everybody else has a turn."""
    channel = Channel()
    begun_s = time.process_time()
    channel.data_received(b"1 done X\n" * 30_000)  # as much as asyncio gives at once
    assert time.process_time() - begun_s < 2
