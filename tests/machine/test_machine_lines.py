"""What the host's end of the channel makes of the guest's lines, one by one."""

import asyncio

import pytest

from imagebuilder.machine.channel import Channel
from imagebuilder.machine.messages import GuestMemory, Pages
from imagebuilder.machine.reports import LINE_BYTES, MOST_LISTENS, MOST_RANGES, Clock, Reports

MEMORY = b"1 memory total=5 free=4 available=3 cached=2 slab=%d\n"


class Wire(asyncio.Transport):
    """The guest's side: what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.ending, self.aborted = b"", False, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.ending

    def abort(self) -> None:
        self.aborted = True


def states(channel: Channel) -> tuple[bool, bool, bool]:
    """Whether the application was started, may be asked, has ended."""
    return channel.started.is_set(), channel.askable.is_set(), channel.ended.done()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], (False, False, False)),
        ([b"1 phase init 5\n"], (False, False, False)),
        ([b"1 phase application 5\n"], (True, True, False)),
        ([b"1 done thaw\n"], (True, True, False)),
        ([b"1 done pages\n"], (False, False, False)),
        ([b"1 watch listening\n", b"2 phase application 5\n"], (True, False, False)),
        ([b"1 watch listening\n", b"2 phase application 5\n", b"3 phase listening 7\n"], (True, True, False)),
        ([b"1 watch listening\n", b"2 phase network 5\n"], (False, False, False)),
        ([b"1 exit 0\n"], (False, False, True)),
        ([b"1 error no disk\n"], (False, False, True)),
        ([b"1 clock 12\n", b"1 left 3\n"], (False, False, False)),
        ([b"1 ex", b"it", b" 0", b"\n"], (False, False, True)),
        ([b"1 exit 0"], (False, False, False)),
    ],
)
async def test_what_a_line_does(lines: list[bytes], expected: tuple[bool, bool, bool]) -> None:
    channel = Channel()
    for line in lines:
        channel.data_received(line)
    assert states(channel) == expected
    channel.connection_lost(None)
    assert channel.closed.done()


async def test_answers_go_to_whoever_asked_first() -> None:
    channel, wire = Channel(), Wire()
    assert not channel.connected
    channel.send("nobody is there")
    channel.close()
    channel.connection_made(wire)
    assert channel.connected
    first, second, third = (channel.ask_memory() for _ in range(3))
    assert wire.sent == b"memory\n" * 3
    channel.data_received(MEMORY % 1 + MEMORY % 2)
    assert await first == GuestMemory(5, 4, 3, 2, 1) and await second == GuestMemory(5, 4, 3, 2, 2)
    channel.data_received(b"1 exit 3\n")
    assert not third.done()
    channel.connection_lost(None)
    assert third.cancelled()
    wire.ending = True
    channel.send("too late")
    assert b"late" not in wire.sent and not wire.aborted
    channel.close()
    assert wire.aborted


async def test_an_answer_that_nobody_asked_for_is_none() -> None:
    channel = Channel()
    channel.data_received(MEMORY % 1)
    asked = channel.ask_memory()
    assert not asked.done()
    channel.data_received(MEMORY % 2)
    assert (await asked).slab_bytes == GuestMemory(5, 4, 3, 2, 2).slab_bytes


async def test_each_command_is_told_done_on_its_own() -> None:
    channel = Channel()
    pages, sockets, again = channel.done("pages"), channel.done("sockets"), channel.done("pages")
    channel.data_received(b"7 done pages\n")
    assert (pages.done(), sockets.done(), again.done()) == (True, False, True)
    assert channel.reports.done_ns == {"pages": 7} and channel.reports.asked == {"sockets"}
    channel.connection_lost(None)
    assert sockets.cancelled() and not pages.cancelled()


async def test_waiting_for_the_start_ends_with_it_or_with_the_time() -> None:
    channel = Channel()
    await channel.wait_started(0.01)
    assert not channel.started.is_set()
    waiting = asyncio.ensure_future(channel.wait_started(600))
    await asyncio.sleep(0)
    channel.data_received(b"1 phase application 5\n")
    await asyncio.wait_for(waiting, 60)


async def test_a_line_without_an_end_is_kept_up_to_its_bound() -> None:
    channel = Channel()
    channel.data_received(b"x" * (LINE_BYTES - 1))
    channel.data_received(b"y" * 10 + b"\n")
    channel.data_received(b"z" * (LINE_BYTES + 5))
    channel.data_received(b"\n")
    assert [(len(line), line[-1:]) for line in channel.reports.odd_lines] == [(LINE_BYTES, b"y"), (LINE_BYTES, b"z")]


def test_what_is_asked_again_is_told_anew() -> None:
    reports = Reports()
    for line in (b"1 pages 1 7 7", b"1 listens 0100007F:0050"):
        reports.ask(line.split()[1].decode().replace("listens", "sockets"))
        reports.take(line, 5)
    reports.ask("memory")
    assert reports.pages and reports.listens
    reports.ask("sockets")
    assert reports.pages == [Pages(1, ((7, 7),))] and not reports.listens and reports.ranges == 1
    reports.ask("pages")
    assert not reports.pages and reports.ranges == 0


def test_pages_and_sockets_up_to_their_bounds() -> None:
    reports = Reports()
    reports.ask("pages")
    reports.ask("sockets")
    line, half = b"1 pages 1" + b" 7 7" * 128, MOST_RANGES // 128
    for _ in range(half - 1):
        reports.take(line, 5)
    reports.take(line + b" 9 9", 5)
    assert reports.ranges == MOST_RANGES - 128, "one too many"
    reports.take(line, 5)
    reports.take(b"1 pages 1 9 9", 5)
    assert reports.ranges == MOST_RANGES == sum(len(told.ranges) for told in reports.pages)
    for number in range(MOST_LISTENS + 2):
        reports.take(f"1 listens {number:08X}:0050".encode(), 5)
    assert len(reports.listens) == MOST_LISTENS


def test_what_else_is_noted() -> None:
    reports = Reports()
    for line in (b"1 clock 1200", b"2 left 3", b"3 done thaw", b"nonsense" * 1000):
        reports.take(line, 50)
    assert (reports.clock_step_ns, reports.left, reports.done_ns) == (1200, 3, {"thaw": 3})
    assert reports.odd_lines == [(b"nonsense" * 1000)[:LINE_BYTES]]


def test_phases_are_in_the_order_of_time() -> None:
    reports = Reports()
    for line in (b"9 phase zebra 5", b"9 phase ant 7"):
        reports.take(line, 9)
    assert list(reports.phases_ns(not_before_ns=0)) == ["kernel", "zebra", "ant"]


def test_the_phases_of_a_clone() -> None:
    reports = Reports()
    assert reports.clone_phases_ns(resumed_ns=70) == {}
    reports.clock.set(guest_ns=100, host_ns=1000)
    assert reports.clone_phases_ns(resumed_ns=70) == {}
    reports.take(b"150 done thaw", 1050)
    before = dict.fromkeys(("kernel", "init", "mounts", "network"), 70)
    assert reports.clone_phases_ns(resumed_ns=70) == {**before, "application": 1050}


def test_a_clock_that_was_set() -> None:
    clock = Clock()
    assert (clock.host_ns(5), clock.guest_ns(5), clock.doubt_ns) == (None, None, None)
    clock.set(guest_ns=100, host_ns=1000)
    assert (clock.host_ns(5), clock.guest_ns(905), clock.doubt_ns) == (905, 5, None)
    for arrived_ns, doubt_ns in ((1130, 130), (1120, 120), (1140, 120)):
        clock.learn(sent_ns=100, arrived_ns=arrived_ns)
        assert (clock.offset_ns, clock.doubt_ns) == (900, doubt_ns)
    clock.learn(sent_ns=100, arrived_ns=990)
    assert (clock.offset_ns, clock.doubt_ns) == (890, 0)
