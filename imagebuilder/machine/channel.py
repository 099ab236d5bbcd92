"""What the guest's init reports over its virtio-serial port, and its clock in terms of ours.

The lines are those of ``docs/contracts.md``. The guest is not trusted: a line that is none of them is kept aside and
does no harm.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import cast

from imagebuilder.machine.waiting import resolve

LINE_BYTES = 4096
MOST_ODD_LINES = 16
MOST_PHASES = 64
MOST_PAGE_LINES = 4096
MOST_LISTENS = 64
LISTENING = "listening"
LINE = re.compile(rb"(\d{1,18}) (phase|clock|exit|signal|left|error|memory|done|watch|pages|listens) ([ -~]{1,1024})")
PHASE = re.compile(r"([a-z][a-z0-9_-]{0,31}) (\d{1,18})")
NANOSECONDS = re.compile(r"\d{1,18}")
BYTE = re.compile(r"\d{1,3}")
LEFT = re.compile(r"\d{1,6}")
LISTENS = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")
PAGES = re.compile(r"\d{1,3}(?: \d{1,10} \d{1,10})+")
MEMORY = re.compile(r"(?:[a-z]+=\d{1,18}(?: |$))+")


@dataclass(frozen=True, slots=True)
class Phase:
    """The guest reached a phase, at ``at_ns`` of its own clock."""

    name: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Init will tell when the application has reached a phase of its own, such as ``listening``."""

    phase: str


@dataclass(frozen=True, slots=True)
class ClockStep:
    """By how much the guest's clock goes on at once: microseconds, or a tick of 10 ms when its kernel found no better
    clock than its timer."""

    step_ns: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The application ended with a status."""

    status: int


@dataclass(frozen=True, slots=True)
class Signalled:
    """The application was ended by a signal."""

    number: int


@dataclass(frozen=True, slots=True)
class Left:
    """The application had ended by itself, and so many of its processes ran on."""

    processes: int


@dataclass(frozen=True, slots=True)
class Listens:
    """A TCP socket of the guest listens at an address (IPv4 or IPv6) and a port."""

    address: str
    port: int

    @property
    def local(self) -> bool:
        """Only the guest itself reaches it."""
        return ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Failed:
    """Init could not do its work."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """Init has done what a command asked for."""

    command: str


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of the file that the ``ahead`` line of this number (from 0) names which are in memory: first, count."""

    file: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """The guest's memory in bytes, as its ``/proc/meminfo`` has it; None is what an older init did not tell."""

    total_bytes: int
    free_bytes: int
    available_bytes: int
    cached_bytes: int
    slab_bytes: int
    buffers_bytes: int | None = None
    shmem_bytes: int | None = None
    anonymous_bytes: int | None = None
    mapped_bytes: int | None = None
    stacks_bytes: int | None = None
    tables_bytes: int | None = None
    percpu_bytes: int | None = None

    @property
    def used_bytes(self) -> int:
        """What is not available to further programs."""
        return self.total_bytes - self.available_bytes


MEMORY_KEYS = tuple(each.name.removesuffix("_bytes") for each in fields(GuestMemory))
LEAST_KEYS = 5  # those that init has always told

Message = Phase | ClockStep | Exited | Signalled | Left | Failed | GuestMemory | Done | Watch | Pages | Listens


def parse(line: bytes) -> tuple[int, Message] | None:
    """The guest's time of sending in ns, and what it said; None when the line is not of the contract."""
    match = LINE.fullmatch(line)
    if match is None:
        return None
    kind, rest = match[2].decode(), match[3].decode()
    message = PARSERS[kind](rest)
    return None if message is None else (int(match[1]), message)


def _phase(text: str) -> Phase | None:
    match = PHASE.fullmatch(text)
    return Phase(match[1], int(match[2])) if match else None


def _clock(text: str) -> ClockStep | None:
    return ClockStep(int(text)) if NANOSECONDS.fullmatch(text) else None


def _exited(text: str) -> Exited | None:
    return Exited(int(text)) if BYTE.fullmatch(text) and int(text) <= 255 else None


def _signalled(text: str) -> Signalled | None:
    return Signalled(int(text)) if BYTE.fullmatch(text) and 1 <= int(text) <= 64 else None


def _left(text: str) -> Left | None:
    return Left(int(text)) if LEFT.fullmatch(text) else None


def _listens(text: str) -> Listens | None:
    """As Linux writes a socket's address: words of 32 bits in its processor's byte order, then the port, in hex."""
    match = LISTENS.fullmatch(text)
    if match is None:
        return None
    words = bytes.fromhex(match[1])
    address = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return Listens(str(ip_address(address)), int(match[2], 16))


def _memory(text: str) -> GuestMemory | None:
    if MEMORY.fullmatch(text) is None:
        return None
    sizes = {key: int(value) for key, value in (word.split("=") for word in text.split())}
    if not sizes.keys() >= set(MEMORY_KEYS[:LEAST_KEYS]):
        return None
    return GuestMemory(**{f"{key}_bytes": sizes[key] for key in MEMORY_KEYS if key in sizes})


def _pages(text: str) -> Pages | None:
    if PAGES.fullmatch(text) is None:
        return None
    file, *numbers = map(int, text.split())
    return Pages(file, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


PARSERS: Mapping[str, Callable[[str], Message | None]] = {
    "phase": _phase,
    "clock": _clock,
    "exit": _exited,
    "signal": _signalled,
    "left": _left,
    "listens": _listens,
    "error": Failed,
    "memory": _memory,
    "done": Done,
    "watch": Watch,
    "pages": _pages,
}


@dataclass(slots=True)
class Clock:
    """The guest's clock in terms of the host's: both are monotonic, so they differ by a constant.

    A line arrives after it was sent, never before: of all differences the smallest is the nearest to the truth.
    """

    offset_ns: int | None = None
    bound_ns: int | None = None
    """The smallest difference of a line since it was ``set``: the truth is not beyond it."""

    def learn(self, *, sent_ns: int, arrived_ns: int) -> None:
        """A line with the guest's time of sending arrived at the host's time."""
        difference = arrived_ns - sent_ns
        self.bound_ns = difference if self.bound_ns is None else min(self.bound_ns, difference)
        self.offset_ns = difference if self.offset_ns is None else min(self.offset_ns, difference)

    def host_ns(self, guest_ns: int) -> int | None:
        """The host's time of a moment in the guest; None when no line came yet."""
        return None if self.offset_ns is None else guest_ns + self.offset_ns

    def guest_ns(self, host_ns: int) -> int | None:
        """The guest's time of a moment on the host; None when no line came yet."""
        return None if self.offset_ns is None else host_ns - self.offset_ns

    def set(self, *, guest_ns: int, host_ns: int) -> None:
        """Both are known to be the same moment: a machine that stood still went on."""
        self.offset_ns, self.bound_ns = host_ns - guest_ns, None

    @property
    def doubt_ns(self) -> int | None:
        """By how much it may go wrong since it was ``set``, as far as lines have told; None when none came."""
        return None if self.bound_ns is None or self.offset_ns is None else self.bound_ns - self.offset_ns


@dataclass(slots=True)
class Reports:
    """All that a guest has reported so far."""

    clock: Clock = field(default_factory=Clock)
    phases: dict[str, int] = field(default_factory=dict)
    """Guest time in ns, by name; the first of a name stands."""
    clock_step_ns: int | None = None
    """The steps of the guest's clock; None when it was not told."""
    done_ns: dict[str, int] = field(default_factory=dict)
    """Guest time in ns at which init had last done a command."""
    pages: list[Pages] = field(default_factory=list)
    """What is in memory of the files that are read ahead, as init told it when it was asked last."""
    listens: set[Listens] = field(default_factory=set)
    """What TCP sockets of the guest listen, as init told it when it was asked last."""
    left: int = 0
    """Processes of the application that ran on when it had ended."""
    end: Exited | Signalled | Failed | None = None
    """How the application ended, or init did."""
    end_ns: int | None = None
    """The host's time at which that arrived."""
    odd_lines: list[bytes] = field(default_factory=list)
    """The first lines that are not of the contract."""

    def take(self, line: bytes, arrived_ns: int) -> Message | None:
        """Note one line; returns what it said."""
        parsed = parse(line)
        if parsed is None:
            if len(self.odd_lines) < MOST_ODD_LINES:
                self.odd_lines.append(line[:LINE_BYTES])
            return None
        sent_ns, message = parsed
        self.clock.learn(sent_ns=sent_ns, arrived_ns=arrived_ns)
        if isinstance(message, Phase) and len(self.phases) < MOST_PHASES:
            self.phases.setdefault(message.name, message.at_ns)
        elif isinstance(message, ClockStep):
            self.clock_step_ns = message.step_ns
        elif isinstance(message, Done):
            self.done_ns[message.command] = sent_ns
        elif isinstance(message, Pages) and len(self.pages) < MOST_PAGE_LINES:
            self.pages.append(message)
        elif isinstance(message, Listens) and len(self.listens) < MOST_LISTENS:
            self.listens.add(message)
        elif isinstance(message, Left):
            self.left = message.processes
        elif isinstance(message, Exited | Signalled | Failed) and self.end is None:
            self.end, self.end_ns = message, arrived_ns
        return message

    def phases_ns(self, *, not_before_ns: int) -> dict[str, int]:
        """The phases on the host's clock, in order; ``kernel`` is where the guest's clock begins. Empty before the
        first line. None lies before ``not_before_ns``, when the guest cannot have run yet."""
        moments = sorted({"kernel": 0, **self.phases}.items(), key=lambda item: item[1])
        aligned = ((name, self.clock.host_ns(at_ns)) for name, at_ns in moments)
        return {name: max(at_ns, not_before_ns) for name, at_ns in aligned if at_ns is not None}

    def clone_phases_ns(self, *, resumed_ns: int) -> dict[str, int]:
        """The same of a clone, which has kernel and init behind it when it goes on; empty until its programs do."""
        thawed_ns = self.clock.host_ns(self.done_ns["thaw"]) if "thaw" in self.done_ns else None
        if thawed_ns is None:
            return {}
        return {**dict.fromkeys(("kernel", "init", "mounts", "network"), resumed_ns), "application": thawed_ns}


class Channel(asyncio.Protocol):
    """The host's end of the port: lines in, commands out."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.reports = Reports()
        self.started = asyncio.Event()
        """The application was started."""
        self.askable = asyncio.Event()
        """It listens, as far as init can tell; where init does not look, it was started."""
        self._watched = False
        self.ended: asyncio.Future[None] = loop.create_future()
        """The application ended, or init failed."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self._memory: list[asyncio.Future[GuestMemory]] = []
        self._done: list[tuple[str, asyncio.Future[None]]] = []
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is there, though the guest may not have opened its side."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """The guest sent something."""
        now_ns = time.monotonic_ns()
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_BYTES]
        for line in lines:
            self._act(self.reports.take(line, now_ns))

    def connection_lost(self, error: Exception | None) -> None:
        """QEMU has ended."""
        for waiting in self._memory:
            waiting.cancel()
        for _, done in self._done:
            done.cancel()
        resolve(self.closed, None)

    async def wait_started(self, timeout_s: float) -> None:
        """Wait until the application was started, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.started.wait()

    def send(self, command: str) -> None:
        """Say something to init."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(command.encode() + b"\n")

    def ask_memory(self) -> asyncio.Future[GuestMemory]:
        """The guest's memory; cancelled when the machine ends before it answers."""
        answer: asyncio.Future[GuestMemory] = asyncio.get_running_loop().create_future()
        self._memory.append(answer)
        self.send("memory")
        return answer

    def done(self, command: str) -> asyncio.Future[None]:
        """When init next says that it has done the command; cancelled when the machine ends before."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append((command, future))
        return future

    @property
    def connected(self) -> bool:
        """Whether it ever was."""
        return self._transport is not None

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.abort()

    def _act(self, message: Message | None) -> None:
        if isinstance(message, Done):
            self._tell(message)
        if (isinstance(message, Phase) and message.name == "application") or message == Done("thaw"):
            self.started.set()
            if not self._watched:
                self.askable.set()
        elif isinstance(message, Watch):
            self._watched = True
        elif isinstance(message, Phase) and message.name == LISTENING:
            self.askable.set()
        elif isinstance(message, GuestMemory) and self._memory:
            waiting = self._memory.pop(0)
            resolve(waiting, message)
        elif self.reports.end is not None:
            resolve(self.ended, None)

    def _tell(self, done: Done) -> None:
        for future in [future for command, future in self._done if command == done.command]:
            resolve(future, None)
        self._done = [each for each in self._done if not each[1].done()]
