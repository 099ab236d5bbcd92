"""Starts of an image, in turn with an empty machine, so that both feel the same weather."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from imagebuilder.errors import MachineError
from imagebuilder.events import Progress, Say, silent, step
from imagebuilder.machine.channel import GuestMemory
from imagebuilder.machine.floor import floor_ns
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.phases import NS_PER_MS, Start, ready, summaries
from imagebuilder.measure.report import Startup
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready


@dataclass(frozen=True, slots=True)
class Boot:
    """One start, and what the instance took right after its first answer; None when it was gone already."""

    start: Start
    host: HostMemory | None
    guest: GuestMemory | None
    cpu_ns: int | None = None
    """QEMU's processor time, user and system, from the spawn to ready."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one run, and the floors between them in ns."""

    floors_ns: tuple[int, ...]
    boots: tuple[Boot, ...]

    @property
    def startup(self) -> Startup:
        """What a report says of them."""
        starts = [boot.start for boot in self.boots]
        floor_ms = Summary.of(floor / NS_PER_MS for floor in self.floors_ns)
        return Startup(floor_ms=floor_ms, ready_ms=ready(starts), phases_ms=summaries(starts))

    @property
    def host_pss_bytes(self) -> int | None:
        """The median over all starts; None when it is not known of any."""
        return _median(boot.host.pss_bytes for boot in self.boots if boot.host)

    @property
    def guest_used_bytes(self) -> int | None:
        """The median over all starts; None when it is not known of any."""
        return _median(boot.guest.used_bytes for boot in self.boots if boot.guest)


async def boot_once(
    spec: MachineSpec, wanted: Ready, *, timeout_s: float | None = None, artefacts: Path | None = None
) -> Boot:
    """Start an instance, wait for its first answer, look at its memory, and end it in an orderly way.

    Raises NotReady, GuestFailed, MachineError; what there is to see of the failure is then written to ``artefacts``.
    """
    async with Instance.start(spec) as instance:
        try:
            ready_ns = await instance.wait_ready(wanted, timeout_s)
        except MachineError:
            if artefacts is not None:
                instance.write_artefacts(artefacts)
            raise
        cpu_ns = round(instance.cpu_s * 1e9)
        host, guest = await _memory(instance)
        marks = {"greeting": instance.greeting_ns, **instance.phases_ns}
        begin_ns = instance.spawned_ns
        await instance.terminate()
    return Boot(Start(ready_ns - begin_ns, {mark: at - begin_ns for mark, at in marks.items()}), host, guest, cpu_ns)


async def measure(
    spec: MachineSpec, wanted: Ready, *, runs: int, say: Say = silent, artefacts: Path | None = None
) -> Starts:
    """``runs`` starts, each after a floor. Raises what ``boot_once`` raises."""
    floors: list[int] = []
    boots: list[Boot] = []
    name = f"starts {spec.name}"
    with step(say, name, f"start {spec.name} {runs} times", total=runs):
        for done in range(1, runs + 1):
            floors.append(await floor_ns(spec.accelerator, spec.machine))
            boots.append(await boot_once(spec, wanted, artefacts=artefacts))
            say(Progress(name, done))
    return Starts(tuple(floors), tuple(boots))


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
    known = list(values)
    return round(median(known)) if known else None
