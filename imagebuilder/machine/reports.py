"""All that a guest has reported so far, and its clock in terms of ours. What is kept is bounded, whatever it says."""

from dataclasses import dataclass, field

from imagebuilder.machine.messages import (
    ClockStep,
    Done,
    Exited,
    Failed,
    Left,
    Listens,
    Message,
    Pages,
    Phase,
    Signalled,
    parse,
)

LINE_BYTES = 4096
MOST_ODD_LINES = 16
MOST_PHASES = 64
MOST_RANGES = 1 << 16  # of pages; those of a start are some hundreds
MOST_LISTENS = 64


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
        """By how much it may go wrong since it was ``set``, as far as lines have said; None when none came."""
        return None if self.bound_ns is None or self.offset_ns is None else self.bound_ns - self.offset_ns


@dataclass(slots=True)
class Reports:
    """All that a guest has reported so far."""

    clock: Clock = field(default_factory=Clock)
    phases: dict[str, int] = field(default_factory=dict)
    """Guest time in ns, by name; the first of a name stands."""
    clock_step_ns: int | None = None
    """The steps of the guest's clock; None when it was not reported."""
    asked: set[str] = field(default_factory=set)
    """Commands that were not yet reported as done: nothing else of what they ask for is kept."""
    done_ns: dict[str, int] = field(default_factory=dict)
    """Guest time in ns at which init had last done a command, of those that it knows."""
    pages: list[Pages] = field(default_factory=list)
    """What is in memory of the files that are read ahead, as init reported it when it was asked last."""
    ranges: int = 0
    """In ``pages`` so far."""
    listens: set[Listens] = field(default_factory=set)
    """What TCP sockets of the guest listen, as init reported it when it was asked last."""
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
            self.asked.discard(message.command)
        elif isinstance(message, Pages):
            self._take_pages(message)
        elif isinstance(message, Listens):
            self._take_listens(message)
        elif isinstance(message, Left):
            self.left = message.processes
        elif isinstance(message, Exited | Signalled | Failed) and self.end is None:
            self.end, self.end_ns = message, arrived_ns
        return message

    def ask(self, command: str) -> None:
        """Init is asked; what it reported before is dropped."""
        self.asked.add(command)
        if command == "pages":
            self.pages.clear()
            self.ranges = 0
        elif command == "sockets":
            self.listens.clear()

    def _take_pages(self, told: Pages) -> None:
        if "pages" in self.asked and self.ranges + len(told.ranges) <= MOST_RANGES:
            self.pages.append(told)
            self.ranges += len(told.ranges)

    def _take_listens(self, told: Listens) -> None:
        if "sockets" in self.asked and len(self.listens) < MOST_LISTENS:
            self.listens.add(told)

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
