"""How a machine ended, judged from all that was seen. Success is only what init said: never the absence of an error."""

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from imagebuilder.machine.excerpt import excerpt
from imagebuilder.machine.messages import Exited, Failed, Signalled

ERROR = re.compile(r"error|fail|not supported|denied|refused", re.IGNORECASE)
HARMLESS = "hub 0 with no nics"  # of a guest with a way out: its card is at the other end of a wire (firewall.py)
EARLY = "the machine powered off before the application started"
PANIC = r"Kernel panic - not syncing: "


class How(StrEnum):
    """What ended it."""

    APPLICATION = "application"
    INIT = "init-failed"
    PANIC = "guest-panic"
    STOPPED = "stopped-by-us"
    QEMU = "qemu-died"
    SILENT = "powered-off-without-status"


@dataclass(frozen=True, slots=True)
class Exit:
    """How the machine ended. ``status`` or ``signal`` is the application's, when init reported it; ``why`` is a
    sentence's second half: the machine ended because "the application exited with status 3"."""

    how: How
    why: str
    status: int | None = None
    signal: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the application ended, and with status 0."""
        return self.how is How.APPLICATION and self.status == 0

    @property
    def did(self) -> str:
        """What the application did: "exited with status 3"; of one that did not end, nothing."""
        if self.signal is not None:
            return f"was ended by {signal_name(self.signal)}"
        return "" if self.status is None else f"exited with status {self.status}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of a machine's end; each may be missing."""

    reported: Exited | Signalled | Failed | None = None
    panic: str | None = None
    stopped: bool = False
    """We ended QEMU ourselves."""
    qemu_status: int | None = None
    qemu_said: str = ""
    started: bool = True
    """The application had been started, or that cannot be known."""
    memory_mib: int | None = None


def judge(facts: Facts) -> Exit:
    """What ended it, the surest sign first: what init said, a panic, ourselves, QEMU's own failure, else nothing."""
    if facts.reported is not None:
        return _reported(facts.reported)
    if facts.panic is not None:
        return Exit(How.PANIC, f"the guest's kernel panicked: {excerpt(facts.panic)}")
    if facts.stopped:
        return Exit(How.STOPPED, "it was stopped")
    if facts.qemu_status:
        said = reason(facts.qemu_said)
        return Exit(How.QEMU, f"QEMU {_status(facts.qemu_status)}" + (f": {said}" if said else ""))
    return Exit(How.SILENT, _silent(facts))


def reason(said: str) -> str:
    """Why QEMU ended, by its own words: the first line that reports an error (such as a register of the processor that
    this host does not let a guest have), else the last one."""
    lines = [line for line in said.splitlines() if line.strip() and not line.endswith(HARMLESS)]
    told = next((line for line in lines if ERROR.search(line)), lines[-1] if lines else "")
    return excerpt(told.partition(": ")[2] if told.startswith("qemu") else told)


def _silent(facts: Facts) -> str:
    if facts.started:
        return "the machine powered off while the application ran"
    little = f"; {facts.memory_mib} MiB may be too little memory" if facts.memory_mib else ""
    return f"{EARLY}{little}"


def _reported(end: Exited | Signalled | Failed) -> Exit:
    if isinstance(end, Failed):
        return Exit(How.INIT, f"init failed: {excerpt(end.text, most=300)}")
    if isinstance(end, Exited):
        found = Exit(How.APPLICATION, "", status=end.status)
    else:
        found = Exit(How.APPLICATION, "", signal=end.number)
    return Exit(found.how, f"the application {found.did}", found.status, found.signal)


def _status(status: int) -> str:
    return f"was ended by {signal_name(-status)}" if status < 0 else f"ended with status {status}"


def signal_name(number: int) -> str:
    """A signal's name, or its number when it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
