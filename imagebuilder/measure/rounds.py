"""Starts of several images and an empty machine in turn, so that all of them are measured under the same load.

A round is one start of each, after a floor; every other round goes backwards, so that drift (a host that warms
up, other load that begins) favours none. The first round is not counted: it fills the host's caches and shows
whether everything works.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from imagebuilder.arch import MachineType
from imagebuilder.errors import GuestFailed, NotReady
from imagebuilder.events import Progress, Say, silent, step
from imagebuilder.machine.bare import BareStart, can_watch, first_answer
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.engines import NotCopied
from imagebuilder.machine.floor import Floor, floor
from imagebuilder.measure import initcalls, instructions
from imagebuilder.measure.change import in_turn
from imagebuilder.measure.phases import NS_PER_MS, OPTIONAL
from imagebuilder.measure.report import Startup
from imagebuilder.measure.startup import MeasuredStart, Starts, boot_once
from imagebuilder.measure.statistics import Summary
from imagebuilder.measure.subject import Subject
from imagebuilder.words import counted

RUNS = 10
FURTHER = 16  # times as many rounds as were asked for, at most, while a comparison that must be decided is not
LEFT_CPUS = 1  # of the host, for us who ask and look at the clock
PINNED_CPUS = 2  # QEMU has a thread for the guest's processor and one for all else
EARLIER = 0.9  # of the quickest time after which an application listened, a bare machine is asked for the first time


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to measure: ``runs`` rounds, and up to ``most`` while these are not enough. ``host_cpus`` are the processors
    that the machines are kept to, ``counts`` the starts in which instructions are counted (0: none), ``artefacts`` the
    folder for what there is to see of a start that failed. ``bare`` starts each bare command line in turn too,
    ``initcalls`` opens the kernel's phase in one more start."""

    runs: int = RUNS
    host_cpus: tuple[int, ...] = ()
    counts: int = 0
    artefacts: Path | None = None
    bare: bool = False
    initcalls: bool = False
    most: int | None = None

    @property
    def looks(self) -> tuple[int, ...]:
        """After so many rounds it is asked whether they are enough: twice as many each time."""
        most, found = self.most or self.runs, [self.runs]
        while found[-1] < most:
            found.append(min(2 * found[-1], most))
        return tuple(found)


@dataclass(slots=True)
class Taken:
    """What was taken of one subject, round by round. ``cloner`` makes the clones of one that has a template."""

    subject: Subject
    cloner: Cloner | None = None
    floors: list[Floor] = field(default_factory=list)
    boots: list[MeasuredStart] = field(default_factory=list)
    bare: list[BareStart] = field(default_factory=list)
    bare_failed: str | None = None
    quiet_s: float = inf
    """How long a bare machine need not be asked."""
    counts: Summary | None = None
    initcalls_ms: dict[str, float] | None = None

    @property
    def starts(self) -> Starts:
        """All rounds."""
        middle = sorted((each.memory for each in self.floors), key=lambda memory: memory.pss_bytes)
        took = tuple(each.took_ns for each in self.floors)
        return Starts(took, tuple(self.boots), middle[(len(middle) - 1) // 2])

    @property
    def startup(self) -> Startup:
        """All rounds, as the report has them."""
        found = self.starts.startup
        phases = {name: each.with_interval() if each else None for name, each in found.phases_ms.items()}
        figures = {name: getattr(found, name) for name in ("floor_ms", "ready_ms", "floors", "cpu_ms", "host_ms")}
        summed = {name: each.with_interval() if each else None for name, each in figures.items()}
        opened = {"instructions": self.counts, "initcalls_ms": self.initcalls_ms}
        return found.model_copy(update={**summed, "phases_ms": phases, **opened, **self._bare(found)})

    def first(self, rounds: int) -> "Taken":
        """What was taken in so many rounds alone."""
        floors, boots, bare = self.floors[:rounds], self.boots[:rounds], self.bare[:rounds]
        return replace(self, floors=floors, boots=boots, bare=bare)

    def _bare(self, ours: Startup) -> dict[str, Any]:
        if not self.bare or self.bare_failed:
            return {}
        bare_ms = Summary.of(each.took_ns / NS_PER_MS for each in self.bare).with_interval()
        found = {"bare_ms": bare_ms, "measuring": in_turn("measuring", ours.ready_ms, bare_ms)}
        cpu = [each.cpu_ns / NS_PER_MS for each in self.bare if each.cpu_ns is not None]
        if ours.cpu_ms and len(cpu) == len(self.bare):
            found["measuring_cpu"] = in_turn("measuring_cpu", ours.cpu_ms, Summary.of(cpu))
        return found


def pinnable(cpus: int, allowed: Sequence[int] | None = None) -> tuple[int, ...]:
    """The processors of this host for machines with so many: the last ones, with one left over; none when there are too
    few to keep machines to some of them."""
    ours = sorted(os.sched_getaffinity(0)) if allowed is None else sorted(allowed)
    wanted = max(PINNED_CPUS, cpus + 1)
    return tuple(ours[-wanted:]) if len(ours) >= wanted + LEFT_CPUS else ()


Enough = Callable[[Sequence[Taken]], bool]


async def measure(
    subjects: Sequence[Subject],
    schedule: Schedule,
    *,
    say: Say = silent,
    enough: Enough = lambda _taken: True,
    into: list[Taken] | None = None,
) -> list[Taken]:
    """``schedule.runs`` rounds after one that does not count, and further ones up to ``schedule.most`` until they are
    ``enough``. Who may be interrupted gives a list, ``into`` which it comes as it is taken (``whole``). Raises
    NotReady, GuestFailed, MachineError: figures of the others beside one that failed would not be a comparison."""
    taken = [] if into is None else into
    async with AsyncExitStack() as stack:
        for subject in subjects:
            taken.append(await _taken(_pinned(subject, schedule.host_cpus), stack))
        with step(say, "first", f"start {_names(subjects)} once, which does not count", total=len(taken)):
            for done, each in enumerate(taken, 1):
                await _boot(each, schedule)
                say(Progress("first", done))
        title = f"start {_names(subjects)} {counted(schedule.runs, 'time')} in turn"
        with step(say, "rounds", title, total=schedule.runs):
            await _rounds(taken, schedule, say, enough)
    for each in taken:
        await _looked_into(each, schedule, say)
    return taken


async def _rounds(taken: Sequence[Taken], schedule: Schedule, say: Say, enough: Enough) -> None:
    done = 0
    for look in schedule.looks:
        say(Progress("rounds", done, look))
        while done < look:
            await _round(taken if done % 2 == 0 else taken[::-1], schedule)
            done += 1
            say(Progress("rounds", done, look))
        if look < schedule.looks[-1] and enough(taken):
            return


async def _looked_into(taken: Taken, schedule: Schedule, say: Say) -> None:
    """What needs starts of its own; a clone's kernel has started long ago."""
    if taken.subject.template is not None:
        return
    spec, ready = taken.subject.spec, taken.subject.ready
    if schedule.counts:
        taken.counts = await instructions.measure(
            spec, ready, runs=schedule.counts, host_cpus=schedule.host_cpus, say=say
        )
    if schedule.initcalls:
        taken.initcalls_ms = await initcalls.opened(spec, ready, launch=taken.subject.launch, say=say)


def whole(taken: Sequence[Taken]) -> list[Taken]:
    """The rounds that all have ended: of a measurement that was interrupted. Empty when there is none."""
    rounds = min((len(each.boots) for each in taken), default=0)
    return [each.first(rounds) for each in taken] if rounds else []


async def _taken(subject: Subject, stack: AsyncExitStack) -> Taken:
    """Nothing so far. What is copied is there before the first copy. Raises NotCopied, ToolMissing."""
    if subject.template is None:
        return Taken(subject)
    cloner = Cloner(subject.template, host_cpus=subject.launch.host_cpus, copies=subject.copied)
    await stack.enter_async_context(cloner)
    await cloner.ready()
    taken = Taken(subject, cloner)
    _still_copied(taken)
    return taken


def _still_copied(taken: Taken) -> None:
    """Raises NotCopied when what should be copies are no more."""
    if taken.subject.copied and taken.cloner is not None and taken.cloner.why is not None:
        raise NotCopied(f"{taken.subject.name}: {taken.cloner.why}")


async def _round(taken: Sequence[Taken], schedule: Schedule) -> None:
    floors: dict[MachineType, Floor] = {}
    for each in taken:
        spec = each.subject.spec
        if spec.machine not in floors:
            floors[spec.machine] = await floor(spec.accelerator, spec.machine, host_cpus=schedule.host_cpus)
        each.floors.append(floors[spec.machine])
        bare_first = len(each.boots) % 2 == 1
        if bare_first:
            await _bare(each, schedule)
        each.boots.append(await _boot(each, schedule))
        if not bare_first:
            await _bare(each, schedule)


async def _bare(taken: Taken, schedule: Schedule) -> None:
    spec, ready = taken.subject.spec, taken.subject.ready
    if not schedule.bare or not can_watch(ready) or taken.subject.template is not None or taken.bare_failed:
        return
    try:
        taken.bare.append(
            await first_answer(spec, ready, quiet_s=taken.quiet_s, host_cpus=taken.subject.launch.host_cpus)
        )
    except (NotReady, GuestFailed) as error:  # what was measured is no worse for it
        taken.bare_failed = f"what measuring costs is not known: {error}"


def _listening_s(boot: MeasuredStart) -> float:
    """After what time the application was seen to listen; where that was not seen, to answer."""
    return boot.start.marks_ns.get(OPTIONAL, boot.start.ready_ns) / 1e9


async def _boot(taken: Taken, schedule: Schedule) -> MeasuredStart:
    artefacts = schedule.artefacts / taken.subject.name if schedule.artefacts else None
    try:
        boot = await boot_once(
            taken.subject.spec,
            taken.subject.ready,
            launch=taken.subject.launch,
            artefacts=artefacts,
            cloner=taken.cloner,
        )
        _still_copied(taken)
        taken.quiet_s = min(taken.quiet_s, EARLIER * _listening_s(boot))
        return boot
    except (NotReady, GuestFailed) as error:
        if artefacts is not None:
            error.hint = "; ".join(filter(None, (error.hint, f"its logs are in {artefacts}")))
        raise


def _pinned(subject: Subject, host_cpus: tuple[int, ...]) -> Subject:
    return replace(subject, launch=replace(subject.launch, host_cpus=host_cpus))


def _names(subjects: Sequence[Subject]) -> str:
    return ", ".join(subject.name for subject in subjects)
