"""All that is measured of one image, as its part of the report."""

from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder.bundle import Bundle
from imagebuilder.errors import GuestFailed, ImagebuilderError, MachineError, NotReady
from imagebuilder.events import Say, silent
from imagebuilder.images import Medium
from imagebuilder.machine.given import Given
from imagebuilder.machine.spec import Accelerator, MachineSpec, spec_of
from imagebuilder.measure import instructions, memory, size, startup
from imagebuilder.measure.budget import Measured, rows
from imagebuilder.measure.checks import BOOTS, BUILDS, GETS_READY
from imagebuilder.measure.initcalls import opened
from imagebuilder.measure.memory import MIB_BYTES
from imagebuilder.measure.report import Check, ImageReport, MachineShape, Memory, Parts
from imagebuilder.measure.size import Size
from imagebuilder.measure.startup import Starts
from imagebuilder.recipe.model import Budget, Ready
from imagebuilder.store import Store

RUNS = 5


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What is to be measured, and how. ``minimum`` looks for the least memory, which takes about a dozen starts;
    ``artefacts`` is the folder for what there is to see of a failed start; ``memory_mib`` and ``cpus`` are those of
    another machine than the image's; ``initcalls`` opens the kernel's phase, in one more start; ``medium`` is what it
    starts from instead of the bundle: then no budget is held against it, which speaks of the bundle."""

    accelerator: Accelerator
    runs: int = RUNS
    minimum: bool = False
    artefacts: Path | None = None
    memory_mib: int | None = None
    cpus: int | None = None
    initcalls: bool = False
    given: Given | None = None
    medium: Medium | None = None


@dataclass(frozen=True, slots=True)
class Least:
    """The least memory that was looked for, and the least that was seen to be enough; None is not measured."""

    minimum_mib: int | None = None
    seen_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One image about to be measured."""

    bundle: Bundle
    options: ImageOptions
    say: Say

    @property
    def spec(self) -> MachineSpec:
        """The machine that the image expects."""
        options = self.options
        return spec_of(
            self.bundle,
            accelerator=options.accelerator,
            memory_mib=options.memory_mib,
            cpus=options.cpus,
            given=options.given,
            medium=options.medium,
        )

    @property
    def budget(self) -> Budget:
        """What was promised."""
        return Budget() if self.options.medium else self.bundle.image.budget

    @property
    def ready(self) -> Ready:
        """When it is ready."""
        return self.bundle.ready

    async def starts(self) -> tuple[tuple[Check, ...], Starts | None]:
        """What was tried, and the starts when all went well.

        One start comes before those that count: it shows whether the image works, and fills the host's caches.
        """
        ready, artefacts = self.ready, self.options.artefacts
        try:
            await startup.boot_once(self.spec, ready, artefacts=artefacts)
            starts = await startup.measure(self.spec, ready, runs=self.options.runs, say=self.say, artefacts=artefacts)
            if self.budget.instructions is not None:
                starts = replace(starts, instructions=await instructions.measure(self.spec, ready, say=self.say))
        except MachineError as error:
            return _short_of(error), None
        return (_well(BUILDS), _well(BOOTS), _well(GETS_READY)), starts

    async def least(self, starts: Starts) -> Least:
        """The least memory as far as it was asked for, or promised."""
        usual_s = starts.startup.ready_ms.median / 1000
        if self.options.minimum:
            found = await memory.minimum_mib(self.spec, self.ready, usual_s=usual_s, say=self.say)
            return Least(found, found)
        promised_mib = self.budget.memory_mib
        if promised_mib is None:
            return Least()
        enough = await memory.answers(self.spec, self.ready, memory_mib=promised_mib, usual_s=usual_s)
        return Least(None, promised_mib if enough else None)

    async def opened(self, report: ImageReport) -> ImageReport:
        """The report with what the kernel's start spent, as far as that was asked for and the kernel reports it."""
        if not self.options.initcalls or report.startup is None:
            return report
        found = await opened(self.spec, self.ready, say=self.say)
        return report.model_copy(update={"startup": report.startup.model_copy(update={"initcalls_ms": found})})


async def measure(bundle: Bundle, options: ImageOptions, *, store: Store, say: Say = silent) -> ImageReport:
    """Measure an image. What falls short stands in the report; raised is only what no image can help (no QEMU)."""
    work = Work(bundle, options, say)
    packed = await size.shipped_soon(bundle, store, say=say)
    checks, starts = await work.starts()
    least = await work.least(starts) if starts else Least()
    return await work.opened(describe(work, packed, checks, starts, least))


def describe(
    work: Work, packed: Size | None, checks: tuple[Check, ...], starts: Starts | None, least: Least
) -> ImageReport:
    """The figures as the report has them."""
    image, spec = work.bundle.image, work.spec
    found = Measured(image_bytes=packed.total_bytes if packed else None, memory_mib=least.seen_mib)
    report = ImageReport(
        name=image.name,
        version=image.version,
        digest=image.digest,
        kernel=image.kernel.name,
        root=image.root.format,
        machine=MachineShape.of(spec),
        bytes=found.image_bytes,
        parts=Parts.of(packed),
        allocated_bytes=size.allocated_bytes(work.bundle),
        contents_bytes=size.contents(image),
        checks=checks,
        budget=rows(work.budget, found),
    )
    return report if starts is None else _started(report, work.budget, starts, least)


def not_started(
    bundle: Bundle, options: ImageOptions, error: MachineError, *, store: Store, say: Say = silent
) -> ImageReport:
    """The report of an image of which a start has failed already: what there is to know without another one."""
    packed = size.promised(bundle, store, say=say)
    return describe(Work(bundle, options, say), packed, _short_of(error), None, Least())


def not_built(name: str, error: ImagebuilderError, *, budget: Budget | None = None) -> ImageReport:
    """The report of an image that could not even be built."""
    checks = (Check(name=BUILDS, holds=False, message=str(error)), _unreached(BOOTS), _unreached(GETS_READY))
    return ImageReport(name=name, checks=checks, budget=rows(budget or Budget(), Measured()))


def _started(report: ImageReport, budget: Budget, starts: Starts, least: Least) -> ImageReport:
    startup, host, guest = starts.startup, starts.host_pss_bytes, starts.guest_used_bytes
    minimum_bytes = None if least.minimum_mib is None else least.minimum_mib * MIB_BYTES
    found = Measured(report.bytes, least.seen_mib, startup.times_floor, guest, host, startup.instructions)
    taken = Memory(
        host_pss_bytes=host,
        guest_used_bytes=guest,
        minimum_bytes=minimum_bytes,
        guest_bytes=starts.guest_bytes(report.machine.memory_mib) if report.machine else None,
        host_bytes=starts.host_bytes,
    )
    return report.model_copy(update={"startup": startup, "memory": taken, "budget": rows(budget, found)})


def _short_of(error: MachineError) -> tuple[Check, ...]:
    """What was tried, when a start ended with this error."""
    if isinstance(error, NotReady | GuestFailed):
        return _well(BUILDS), _well(BOOTS), Check(name=GETS_READY, holds=False, message=str(error))
    return _well(BUILDS), Check(name=BOOTS, holds=False, message=str(error)), _unreached(GETS_READY)


def _well(name: str) -> Check:
    return Check(name=name, holds=True)


def _unreached(name: str) -> Check:
    return Check(name=name, holds=None)
