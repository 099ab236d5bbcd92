"""Where the time from spawning a machine to the first answer goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from imagebuilder.measure.statistics import Summary

NS_PER_MS = 1_000_000

# Each phase of a start, and the mark at which it ends and the next begins. The first begins when QEMU is spawned.
PHASES: Mapping[str, str] = {
    "qmp": "greeting",
    "machine": "running",
    "firmware": "kernel",
    "kernel": "init",
    "init": "mounts",
    "network": "network",
    "handover": "application",
    "application": "listening",
    "answer": "ready",
}
MEANING: Mapping[str, str] = {
    "qmp": "QEMU starts, until it greets",
    "machine": "QEMU makes the machine, until its processor runs",
    "firmware": "firmware and the kernel's first steps, until its clock goes",
    "kernel": "the kernel, until the first instruction of init",
    "init": "modules, overlay, mounts",
    "network": "the loopback, and the network that was asked for",
    "handover": "until the application's exec succeeded",
    "application": "until it was seen to listen, else until the first real answer",
    "answer": "from listening to the first real answer",
}
# Without this mark the phase before it goes on to the next one, and the phase after it is not known.
OPTIONAL = "listening"
COARSE_NS = NS_PER_MS  # a guest's clock of larger steps makes its phases untrue


@dataclass(frozen=True, slots=True)
class Start:
    """One start: when each mark was reached, in ns after the spawn. A mark that was not reported is left out."""

    ready_ns: int
    marks_ns: Mapping[str, int]
    clock_step_ns: int | None = None
    """The steps of the guest's clock, from which the marks between ``running`` and ``listening`` come."""

    @property
    def phases_ms(self) -> dict[str, float | None]:
        """How long each phase took; they add up to the time to ready. None where the begin or the end is not known.

        The guest's clock is aligned to the host's to some ten microseconds, so that marks that are close together can
        change places: each counts as not before the one before it, and not after the answer.
        """
        phases: dict[str, float | None] = dict.fromkeys(PHASES)
        begin: int | None = 0
        reached = 0
        for name, mark in self._bounds().items():
            seen = self.ready_ns if mark == "ready" else self.marks_ns.get(mark)
            end = None if seen is None else min(max(seen, reached), self.ready_ns)
            phases[name] = None if begin is None or end is None else (end - begin) / NS_PER_MS
            begin, reached = end, reached if end is None else end
        return phases

    def without(self, mark: str) -> "Start":
        """The same start, had this mark not been reported."""
        return replace(self, marks_ns={name: at_ns for name, at_ns in self.marks_ns.items() if name != mark})

    def _bounds(self) -> dict[str, str]:
        """The phases of this start, each with the mark at its end."""
        if OPTIONAL in self.marks_ns:
            return dict(PHASES)
        names, marks = list(PHASES), [mark for mark in PHASES.values() if mark != OPTIONAL]
        return dict(zip(names, marks, strict=False))


def ready(starts: Iterable[Start]) -> Summary:
    """The time to ready in ms."""
    return Summary.of(start.ready_ns / NS_PER_MS for start in starts)


def summaries(starts: Sequence[Start]) -> dict[str, Summary | None]:
    """Each phase over all starts, in ms; None when one of them did not report it. Where one of them was not seen to
    listen, the application lasts until the answer in all, so that the phases of each still add up."""
    if not all(OPTIONAL in start.marks_ns for start in starts):
        starts = [start.without(OPTIONAL) for start in starts]
    taken = [start.phases_ms for start in starts]
    return {name: _summary([phases[name] for phases in taken]) for name in PHASES}


def _summary(samples: Sequence[float | None]) -> Summary | None:
    known = [sample for sample in samples if sample is not None]
    return Summary.of(known) if known and len(known) == len(samples) else None


def clock_step_ms(starts: Iterable[Start]) -> float | None:
    """The largest step of the guest's clock in ms, when in one of the starts it was a coarse one; else None."""
    coarse = [start.clock_step_ns for start in starts if start.clock_step_ns and start.clock_step_ns >= COARSE_NS]
    return max(coarse) / NS_PER_MS if coarse else None
