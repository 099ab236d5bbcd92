"""What the guest's init says, line by line, as ``docs/contracts.md`` has it. The guest is not trusted: what is none of
that is nothing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address

COMMANDS = ("memory", "pages", "sockets", "freeze", "detach", "thaw")  # those that init says it has done, or answers
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
LEAST_KEYS = 5  # those that init has always reported

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


def _done(text: str) -> Done | None:
    return Done(text) if text in COMMANDS else None


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
    "done": _done,
    "watch": Watch,
    "pages": _pages,
}
