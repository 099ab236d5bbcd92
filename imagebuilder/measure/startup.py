"""Starts of an image, in turn with an empty machine, so that both are measured under the same load."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagebuilder.errors import MachineError
from imagebuilder.events import Progress, Say, silent, step
from imagebuilder.machine.artefacts import watched
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.floor import Floor, floor
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.messages import GuestMemory
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.footprint import guest_parts, host_parts
from imagebuilder.measure.phases import NS_PER_MS, Start, clock_step_ms, ready, summaries
from imagebuilder.measure.report import Startup
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready
from imagebuilder.words import counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MeasuredStart:
    """One start, and what the instance took right after its first answer; None when it was gone already."""

    start: Start
    host: HostMemory | None
    guest: GuestMemory | None
    cpu_ns: int | None = None
    """QEMU's processor time, user and system, from the spawn to ready."""
    host_ns: int | None = None
    """From the spawn to the greeting, less the time in which QEMU waited for a processor of the host."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one run, and the floors between them in ns; ``floor`` is what an empty machine takes."""

    floors_ns: tuple[int, ...]
    boots: tuple[MeasuredStart, ...]
    floor: HostMemory | None = None
    instructions: Summary | None = None

    @property
    def startup(self) -> Startup:
        """What a report says of them."""
        starts = [boot.start for boot in self.boots]
        floor_ms = Summary.of(floor / NS_PER_MS for floor in self.floors_ns)
        beside = zip(starts, self.floors_ns, strict=False)
        cpu = [boot.cpu_ns / NS_PER_MS for boot in self.boots if boot.cpu_ns is not None]
        host = [boot.host_ns / NS_PER_MS for boot in self.boots if boot.host_ns is not None]
        return Startup(
            floor_ms=floor_ms,
            ready_ms=ready(starts),
            phases_ms=summaries(starts),
            floors=Summary.of(start.ready_ns / floor for start, floor in beside),
            cpu_ms=Summary.of(cpu) if len(cpu) == len(starts) else None,
            host_ms=Summary.of(host) if host and len(host) == len(starts) else None,
            clock_step_ms=clock_step_ms(starts),
            instructions=self.instructions,
        )

    @property
    def host_pss_bytes(self) -> int | None:
        """That of the start in the middle; None when it is not known of any."""
        return _median(boot.host.pss_bytes for boot in self.boots if boot.host)

    @property
    def guest_used_bytes(self) -> int | None:
        """That of the start in the middle; None when it is not known of any."""
        return _median(boot.guest.used_bytes for boot in self.boots if boot.guest)

    def guest_bytes(self, memory_mib: int) -> dict[str, int] | None:
        """Where the guest's memory is, in the start that takes the median of it; None when it is not known."""
        guests = sorted((boot.guest for boot in self.boots if boot.guest), key=lambda guest: guest.used_bytes)
        return guest_parts(_middle(guests), memory_bytes=memory_mib << 20) if guests else None

    @property
    def host_bytes(self) -> dict[str, int] | None:
        """QEMU's memory in the start that takes the median of it, beside that of an empty machine."""
        hosts = sorted((boot.host for boot in self.boots if boot.host), key=lambda host: host.pss_bytes)
        return host_parts(_middle(hosts), floor=self.floor) if hosts else None


async def boot_once(
    spec: MachineSpec,
    wanted: Ready,
    *,
    launch: Launch = COLD,
    timeout_s: float | None = None,
    artefacts: Path | None = None,
    cloner: Cloner | None = None,
) -> MeasuredStart:
    """Start an instance, wait for its first answer, look at its memory, and end it in an orderly way. With a
    ``cloner``, have it make a clone.

    Raises NotReady, GuestFailed, MachineError; what there is to see of the failure is then written to ``artefacts``.
    """
    machine = Instance.start(spec, launch) if cloner is None else cloner.clone()
    async with watched(machine, artefacts) as instance:
        ready_ns = await instance.wait_ready(wanted, timeout_s)
        cpu_ns = _cpu_ns(instance)
        host, guest = await _memory(instance)
        start = start_of(instance, ready_ns)
        await instance.terminate()
    return MeasuredStart(start, host, guest, cpu_ns, instance.host_ns)


def start_of(instance: Instance, ready_ns: int) -> Start:
    """The start of an instance that answered first at ``ready_ns`` of the host's clock."""
    marks = {"greeting": instance.greeting_ns, "running": instance.running_ns, **instance.phases_ns}
    if instance.listening_ns is not None:
        marks["listening"] = instance.listening_ns
    begin_ns = instance.spawned_ns
    after_ns = {mark: at_ns - begin_ns for mark, at_ns in marks.items()}
    return Start(ready_ns - begin_ns, after_ns, instance.clock_step_ns)


async def measure(
    spec: MachineSpec, wanted: Ready, *, runs: int, say: Say = silent, artefacts: Path | None = None
) -> Starts:
    """``runs`` starts, each after a floor. Raises what ``boot_once`` raises."""
    floors: list[Floor] = []
    boots: list[MeasuredStart] = []
    name = f"starts {spec.name}"
    with step(say, name, f"start {spec.name} {counted(runs, 'time')}", total=runs):
        for done in range(1, runs + 1):
            floors.append(await floor(spec.accelerator, spec.machine))
            boots.append(await boot_once(spec, wanted, artefacts=artefacts))
            say(Progress(name, done))
    return Starts(tuple(each.took_ns for each in floors), tuple(boots), _middle_floor(floors))


def _middle_floor(floors: Sequence[Floor]) -> HostMemory:
    return _middle(sorted((each.memory for each in floors), key=lambda memory: memory.pss_bytes))


def _middle(ordered: Sequence[T]) -> T:
    """The median, as one that was seen: of two the smaller."""
    return ordered[(len(ordered) - 1) // 2]


def _cpu_ns(instance: Instance) -> int | None:
    try:
        return round(instance.cpu_s * 1e9)
    except MachineError:
        return None


async def _memory(instance: Instance) -> tuple[HostMemory | None, GuestMemory | None]:
    """An application that is ready when it has exited leaves nothing to look at; a guest without our init is silent."""
    host, guest = None, None
    with suppress(MachineError):
        host = instance.host_memory()
    if instance.phases_ns:
        with suppress(MachineError):
            guest = await instance.guest_memory()
    return host, guest


def _median(values: Iterable[int]) -> int | None:
    known = sorted(values)
    return _middle(known) if known else None
