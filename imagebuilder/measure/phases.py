"""Where the time from spawning a machine to the first answer goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imagebuilder.measure.statistics import Summary

NS_PER_MS = 1_000_000

# Each phase of a start, and the mark at which it ends and the next begins. The first begins when QEMU is spawned.
PHASES: Mapping[str, str] = {
    "qmp": "greeting",  # QEMU starts, until it greets on QMP
    "kernel": "init",  # firmware and kernel, until the first instruction of init
    "init": "application",  # the OS layer, until the application's exec has succeeded
    "application": "ready",  # the application, until its first real answer
}


@dataclass(frozen=True, slots=True)
class Start:
    """One start: when each mark was reached, in ns after the spawn. A mark that was not reported is left out."""

    ready_ns: int
    marks_ns: Mapping[str, int]

    @property
    def phases_ms(self) -> dict[str, float | None]:
        """How long each phase took; they add up to the time to ready. None where the begin or the end is not known.

        The guest's clock is aligned to the host's to some ten microseconds, so that marks that are close together can
        change places: each counts as not before the one before it, and not after the answer.
        """
        phases: dict[str, float | None] = {}
        begin: int | None = 0
        reached = 0
        for name, mark in PHASES.items():
            seen = self.ready_ns if mark == "ready" else self.marks_ns.get(mark)
            end = None if seen is None else min(max(seen, reached), self.ready_ns)
            phases[name] = None if begin is None or end is None else (end - begin) / NS_PER_MS
            begin, reached = end, reached if end is None else end
        return phases


def ready(starts: Iterable[Start]) -> Summary:
    """The time to ready in ms."""
    return Summary.of(start.ready_ns / NS_PER_MS for start in starts)


def summaries(starts: Sequence[Start]) -> dict[str, Summary | None]:
    """Each phase over all starts, in ms; None when one of them did not report it."""
    taken = [start.phases_ms for start in starts]
    return {name: _summary([phases[name] for phases in taken]) for name in PHASES}


def _summary(samples: Sequence[float | None]) -> Summary | None:
    known = [sample for sample in samples if sample is not None]
    return Summary.of(known) if known and len(known) == len(samples) else None
