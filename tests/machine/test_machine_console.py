"""The console keeps what matters, in bounded memory."""

import asyncio
import re
import socket
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.machine.console import HEAD_BYTES, LINE_BYTES, TAIL_BYTES, Console


async def test_little_is_kept_as_it_is() -> None:
    console = Console()
    for part in (b"one\ntw", b"o\nthree \xff"):
        console.data_received(part)
    assert console.text == "one\ntwo\nthree �"


async def test_of_much_the_beginning_and_the_end_are_kept() -> None:
    console = Console()
    block = b"y" * 65535 + b"\n"
    tracemalloc.start()
    console.data_received(b"first\n")
    for _ in range(1600):  # 100 MiB
        console.data_received(block)
    console.data_received(b"last\n")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert console.text.startswith("first\n") and console.text.endswith("\nlast\n")
    left_out = re.search(r"\[… ([\d,]+) bytes left out …\]", console.text)
    assert left_out is not None
    assert int(left_out[1].replace(",", "")) > 100 * 2**20 - HEAD_BYTES - 3 * TAIL_BYTES
    assert peak_bytes < 2 * (HEAD_BYTES + 2 * TAIL_BYTES) + 2**20


@given(st.lists(st.binary(max_size=20)))
async def test_no_part_is_lost_however_it_comes(parts: list[bytes]) -> None:
    console = Console()
    for part in parts:
        console.data_received(part)
    assert console.text == b"".join(parts).decode(errors="replace")


@pytest.mark.parametrize(
    ("parts", "pattern"),
    [
        ((b"now list", b"ening\n"), r"^now listening$"),
        ((b"a\r\nready\r\n",), r"^ready$"),
        ((b"login: ",), r"login: $"),
        ((b"\xff\xfe ready\n",), r"ready"),
        ((b"x" * (3 * LINE_BYTES), b" ready\n"), r"ready"),
    ],
)
async def test_a_line_is_seen(parts: tuple[bytes, ...], pattern: str) -> None:
    console, late = Console(), Console()
    seen = console.watch(pattern)
    for part in parts:
        assert not seen.done()
        console.data_received(part)
        late.data_received(part)
    assert seen.done()
    assert late.watch(pattern).done(), "what was there before counts too"


async def test_two_lines_are_not_one() -> None:
    console = Console()
    seen = console.watch("now.*listening")
    console.data_received(b"now\nlistening\n")
    assert not seen.done()


async def test_a_reader_that_goes_away_is_no_matter() -> None:
    def gone(_data: bytes) -> None:
        raise BrokenPipeError

    console = Console(gone)
    for part in (b"one ", b"two"):
        console.data_received(part)
    assert console.text == "one two"


@pytest.mark.parametrize("pattern", [r"(a+)+b$", r"(a|a)*b$", r"(.*a){12}b", r"(\w+\s?)*:$"])
async def test_no_line_keeps_a_pattern_busy(pattern: str) -> None:
    """With Python's engine these take seconds on 24 letters, twice as long on each further one, and nothing can be done
    meanwhile."""
    console = Console()
    seen = console.watch(pattern)
    begun_s = time.process_time()
    console.data_received(b"a" * 60_000)
    console.data_received(b"a" * 60_000 + b"\n")
    assert time.process_time() - begun_s < 2 and not seen.done()
    console.data_received(b"aaaaaaaaaaaaaab:\n" if pattern.endswith(":$") else b"aaaaaaaaaaaaaab\n")
    assert seen.done()


@pytest.mark.parametrize(
    ("pattern", "why"),
    [(r"(?=x)", "(?="), (r"(a)\1", r"\1"), ("(", "missing )"), ("a" * 2000, "more than 1000 characters")],
)
async def test_what_is_no_pattern_is_said(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Console().watch(pattern)


async def test_what_the_guest_does_not_take_does_not_pile_up() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, console = await asyncio.get_running_loop().create_connection(Console, sock=ours)
        theirs.setblocking(False)
        told = asyncio.Queue[bool]()
        console.on_room = told.put_nowait
        for _ in range(64):
            if told.empty():
                console.write(bytes(64 << 10))
        assert await asyncio.wait_for(told.get(), 60) is False
        assert transport.get_write_buffer_size() <= 256 << 10
        while transport.get_write_buffer_size():
            await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
        assert await asyncio.wait_for(told.get(), 60) is True
        transport.close()
