"""How a machine ended, judged from all that was seen. Success is only what init said: never the absence of an error."""

import signal
from dataclasses import dataclass
from enum import StrEnum

from imagebuilder.machine.channel import Exited, Failed, Signalled

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
    """How the machine ended. ``status`` or ``signal`` is the application's, when init told it; ``why`` is a sentence's
    second half: the machine ended because "the application exited with status 3"."""

    how: How
    why: str
    status: int | None = None
    signal: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the application ended, and with status 0."""
        return self.how is How.APPLICATION and self.status == 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of a machine's end; each may be missing."""

    reported: Exited | Signalled | Failed | None = None
    panic: str | None = None
    stopped: bool = False
    """We ended QEMU ourselves."""
    qemu_status: int | None = None
    qemu_said: str = ""


def judge(facts: Facts) -> Exit:
    """What ended it, the surest sign first: what init said, a panic, ourselves, QEMU's own failure, else nothing."""
    if facts.reported is not None:
        return _reported(facts.reported)
    if facts.panic is not None:
        return Exit(How.PANIC, f"the guest's kernel panicked: {facts.panic}")
    if facts.stopped:
        return Exit(How.STOPPED, "it was stopped")
    if facts.qemu_status:
        said = facts.qemu_said.strip().rpartition("\n")[2]
        return Exit(How.QEMU, f"QEMU {_status(facts.qemu_status)}" + (f": {said}" if said else ""))
    return Exit(How.SILENT, "the machine powered off and init had not told the application's status")


def _reported(end: Exited | Signalled | Failed) -> Exit:
    if isinstance(end, Exited):
        return Exit(How.APPLICATION, f"the application exited with status {end.status}", status=end.status)
    if isinstance(end, Signalled):
        name = signal_name(end.number)
        return Exit(How.APPLICATION, f"the application was ended by {name}", signal=end.number)
    return Exit(How.INIT, f"init failed: {end.text}")


def _status(status: int) -> str:
    return f"was ended by {signal_name(-status)}" if status < 0 else f"ended with status {status}"


def signal_name(number: int) -> str:
    """A signal's name, or its number when it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
