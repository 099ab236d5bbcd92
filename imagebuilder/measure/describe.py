"""What rounds of starts say of each image: its part of a report, and why nothing should be concluded from it."""

from typing import Any

from imagebuilder.events import Say, silent
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ports import with_ports
from imagebuilder.measure import budget, size
from imagebuilder.measure.budget import Measured
from imagebuilder.measure.checks import GETS_READY
from imagebuilder.measure.report import Check, ImageReport, MachineShape, Memory, Parts, Startup
from imagebuilder.measure.rounds import RUNS, Taken
from imagebuilder.measure.statistics import LEAST_SAMPLES, WIDEST
from imagebuilder.measure.subject import Subject
from imagebuilder.process import shell_line
from imagebuilder.recipe.model import Budget
from imagebuilder.store import Store
from imagebuilder.words import counted


def describe(taken: Taken, *, store: Store | None, say: Say = silent) -> ImageReport:
    """The part of a report for one subject; without a store just how it starts, which takes no time to find out."""
    subject, starts, startup = taken.subject, taken.starts, taken.startup
    spec = subject.spec
    report = ImageReport(
        name=subject.name,
        version=subject.version,
        machine=MachineShape.of(spec),
        # A clone is given its state and its name over sockets: nothing that could be pasted.
        command=None if subject.launch.incoming else shell_line(argv(with_ports(spec), wiring=None)),
        startup=startup,
        memory=Memory(
            host_pss_bytes=starts.host_pss_bytes,
            guest_used_bytes=starts.guest_used_bytes,
            minimum_bytes=None,
            guest_bytes=starts.guest_bytes(spec.memory_mib),
            host_bytes=starts.host_bytes,
        ),
        checks=(Check(name=GETS_READY, holds=True),),
        warnings=(*warnings(startup), *filter(None, [taken.bare_failed])),
    )
    if subject.bundle is None or store is None:
        return report
    return report.model_copy(update=_of_ours(report, subject, store, say))


def _of_ours(report: ImageReport, subject: Subject, store: Store, say: Say) -> dict[str, Any]:
    """What is known besides of an image of ours. The least memory is not looked for, so no promise of it is held."""
    assert subject.bundle is not None and report.startup is not None and report.memory is not None
    image, startup, memory = subject.bundle.image, report.startup, report.memory
    packed = size.promised(subject.bundle, store, say=say)
    promises = Budget() if subject.spec.medium else image.budget  # they speak of the bundle
    found = Measured(
        image_bytes=packed.total_bytes if packed else None,
        startup_floors=startup.times_floor,
        guest_used_bytes=memory.guest_used_bytes,
        host_pss_bytes=memory.host_pss_bytes,
        instructions=startup.instructions,
    )
    return {
        "digest": image.digest,
        "kernel": image.kernel.name,
        "root": image.root.format,
        "bytes": found.image_bytes,
        "parts": Parts.of(packed),
        "allocated_bytes": size.allocated_bytes(subject.bundle),
        "contents_bytes": size.contents(image),
        "budget": tuple(row for row in budget.rows(promises, found) if row.value is not None),
    }


def warnings(startup: Startup) -> list[str]:
    """Why nothing should be concluded from these figures."""
    ready = startup.ready_ms
    if len(ready.samples) < LEAST_SAMPLES:
        taken = counted(len(ready.samples), "start")
        return [f"how times scatter cannot be known from {taken}: give --runs {RUNS}"]
    if ready.inconclusive and ready.ci95:
        low, high = ready.ci95
        return [
            f"the time scatters too much to conclude anything: the median lies between {low:.0f} and {high:.0f} ms, "
            f"more than {WIDEST:.0%} apart; a quieter host or more --runs help"
        ]
    return []
