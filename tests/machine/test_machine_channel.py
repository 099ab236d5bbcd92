"""The guest's lines: what is understood of them, and what harm a guest can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.machine.ending import Exit, Facts, How, judge
from imagebuilder.machine.messages import (
    ClockStep,
    Exited,
    Failed,
    GuestMemory,
    Message,
    Pages,
    Phase,
    Signalled,
    Watch,
    parse,
)
from imagebuilder.machine.reports import Clock, Reports

SECOND = 10**9


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"7 phase init 5", Phase("init", 5)),
        (b"7 exit 0", Exited(0)),
        (b"7 exit 255", Exited(255)),
        (b"7 signal 11", Signalled(11)),
        (b"7 error cannot mount /x: no such device", Failed("cannot mount /x: no such device")),
        (b"7 memory total=5 free=4 available=3 cached=2 slab=1", GuestMemory(5, 4, 3, 2, 1)),
        (b"7 clock 1200", ClockStep(1200)),
        (b"7 watch listening", Watch("listening")),
        (b"7 pages 3 0 12 400 1", Pages(3, ((0, 12), (400, 1)))),
        (
            b"7 memory total=5 free=4 available=3 cached=2 slab=1 buffers=9 shmem=8 anonymous=7 mapped=6 stacks=5 "
            b"tables=4 percpu=3",
            GuestMemory(5, 4, 3, 2, 1, 9, 8, 7, 6, 5, 4, 3),
        ),
        (b"7 memory slab=1 cached=2 available=3 free=4 total=5 more=6", GuestMemory(5, 4, 3, 2, 1)),
    ],
)
def test_the_lines_of_the_contract(line: bytes, message: Message) -> None:
    assert parse(line) == (7, message)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"exit 0",
        b"7 exit",
        b"7 exit 256",
        b"7 exit -1",
        b"7 exit 0 1",
        b"7  exit 0",
        b"x exit 0",
        b"7 signal 0",
        b"7 phase init",
        b"7 phase INIT 5",
        b"7 clock -1",
        b"7 clock fine",
        b"7 pages 3",
        b"7 pages 3 0",
        b"7 pages 3 0 1 2",
        b"7 pages x 0 1",
        b"7 memory total=5",
        b"7 memory total=x free=4 available=3 cached=2 slab=1",
        b"7 exit 0\r",
        b"7 error \xff",
        b"9" * 5000 + b" exit 0",
        "7 exit ٣".encode(),
    ],
)
def test_other_lines_mean_nothing(line: bytes) -> None:
    assert parse(line) is None


@given(st.binary(max_size=200))
def test_no_line_does_harm(line: bytes) -> None:
    reports = Reports()
    reports.take(line, 10**12)
    assert reports.odd_lines or parse(line)


@given(
    st.from_regex(rb"[0-9]{1,20} (phase|clock|exit|signal|error|memory|pages) [ -~]{0,60}", fullmatch=True),
    st.integers(0, 2**63),
)
def test_nor_does_one_that_looks_right(line: bytes, arrived_ns: int) -> None:
    reports = Reports()
    reports.take(line, arrived_ns)
    assert all(at_ns >= arrived_ns for at_ns in reports.phases_ns(not_before_ns=arrived_ns).values())


def test_a_guest_cannot_fill_our_memory() -> None:
    reports = Reports()
    for number in range(10_000):
        reports.take(b"nonsense" * 1000, number)
        reports.take(f"{number} phase x{number} {number}".encode(), number)
    assert len(reports.odd_lines) <= 16 and len(reports.phases) <= 64


@given(
    offset_ns=st.integers(0, 10**15),
    lines=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), min_size=1),
)
def test_the_clocks_differ_by_the_quickest_line(offset_ns: int, lines: list[tuple[int, int]]) -> None:
    """Each line takes a while to arrive; what we take for the difference is off by the shortest of these."""
    clock = Clock()
    for sent_ns, travel_ns in lines:
        clock.learn(sent_ns=sent_ns, arrived_ns=offset_ns + sent_ns + travel_ns)
    assert clock.offset_ns == offset_ns + min(travel_ns for _, travel_ns in lines)


def test_phases_on_our_clock_and_in_order() -> None:
    reports = Reports()
    assert reports.phases_ns(not_before_ns=0) == {}
    for line, arrived_ns in (
        (b"400 phase init 300", 10_500),  # took 100
        (b"500 phase application 450", 10_520),  # took 20
        (b"600 phase init 600", 10_700),  # once is enough
    ):
        reports.take(line, arrived_ns)
    assert reports.phases_ns(not_before_ns=0) == {"kernel": 10_020, "init": 10_320, "application": 10_470}
    assert reports.phases_ns(not_before_ns=10_100)["kernel"] == 10_100


def test_the_first_end_stands() -> None:
    reports = Reports()
    for line in (b"1 exit 3", b"2 exit 0", b"3 signal 9"):
        reports.take(line, 50)
    assert (reports.end, reports.end_ns) == (Exited(3), 50)


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (Facts(reported=Exited(0), qemu_status=0), Exit(How.APPLICATION, "the application exited with status 0", 0)),
        # What init said is surer than all that followed.
        (
            Facts(reported=Signalled(9), panic="x", stopped=True, qemu_status=-9),
            Exit(How.APPLICATION, "the application was ended by SIGKILL", signal=9),
        ),
        (Facts(reported=Failed("no /x")), Exit(How.INIT, "init failed: no /x")),
        (Facts(panic="oops", qemu_status=0), Exit(How.PANIC, "the guest's kernel panicked: oops")),
        (Facts(stopped=True, qemu_status=-9), Exit(How.STOPPED, "it was stopped")),
        (
            Facts(qemu_status=1, qemu_said="a\nqemu: no disk\n"),
            Exit(How.QEMU, "QEMU ended with status 1: no disk"),
        ),
        (Facts(qemu_status=-11), Exit(How.QEMU, "QEMU was ended by SIGSEGV")),
        (
            Facts(qemu_status=0),
            Exit(How.SILENT, "the machine powered off while the application ran"),
        ),
    ],
)
def test_how_it_ended(facts: Facts, found: Exit) -> None:
    assert judge(facts) == found
    assert found.ok == (found.status == 0)
