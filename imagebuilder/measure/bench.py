"""``imagebuilder bench`` from Python: starts in turn, with clones and a comparison where they are asked for.

::

    selection = Selection(["nginx"], choose("auto").accelerator)
    report = bench.starts(selection, Schedule(runs=20), against=Against("before.json"))
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagebuilder.measure import against as comparing
from imagebuilder.measure import density, report, rounds
from imagebuilder.measure.against import Against
from imagebuilder.measure.checks import CLONES
from imagebuilder.measure.clones import Clones, of_images, template_of
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.density import DensityOptions
from imagebuilder.measure.describe import describe
from imagebuilder.measure.host import Host, host
from imagebuilder.measure.reference import BEFORE, Reference
from imagebuilder.measure.report import Check, ImageReport, MachineShape, Report
from imagebuilder.measure.rounds import Schedule, Taken
from imagebuilder.measure.selection import Selection
from imagebuilder.measure.subject import Subject
from imagebuilder.store import Store

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""What runs a coroutine to its end, as ``asyncio.run`` does."""


@dataclass
class Bench:
    """Starts in turn that are prepared: what is started, how, and what it is compared with. ``taken`` fills while it
    goes on, so that an interrupted caller has the rounds that ended."""

    selection: Selection
    schedule: Schedule
    subjects: Sequence[Subject]
    reference: Reference | None
    here: Host
    taken: list[Taken] = field(default_factory=list)

    async def measure(self) -> None:
        """Raises NotReady, GuestFailed, MachineError."""
        enough = self.reference.decided if self.reference else lambda _: True
        subjects, say = self.subjects, self.selection.say
        await rounds.measure(subjects, self.schedule, say=say, enough=enough, into=self.taken)

    def report(self, *, store: Store | None) -> Report:
        """Each image with its comparison; without a store just how it starts, which takes no time to find out."""
        images = [describe(each, store=store, say=self.selection.say) for each in self.taken]
        found = self.reference.comparisons(self.taken) if self.reference else {}
        told = (_compared(image, found) for image in images)
        return report.of(self.here, told, pinned=self.schedule.host_cpus or None)

    def keep_whole_rounds(self) -> None:
        """Of a measurement that was interrupted: the rounds that all have ended."""
        self.taken = rounds.whole(self.taken)


def prepared(
    selection: Selection,
    schedule: Schedule,
    *,
    clones: Clones | None = None,
    against: Against | None = None,
    run: Run = asyncio.run,
) -> Bench:
    """Build the images, make the templates that are missing, and find what is compared with. ``schedule`` gets the
    processors to which machines are kept, and how often a comparison is judged. Raises ImagebuilderError."""
    here = host(selection.accelerator)
    document = comparing.older(against, selection, here) if against else None
    subjects, reference = _subjects(selection, clones, run), None
    if against:
        reference, further = comparing.resolved(against, document, selection, subjects)
        subjects += further
    pinned = rounds.pinnable(max(each.spec.cpus for each in subjects))
    schedule = replace(schedule, host_cpus=pinned, most=against.most_runs if against else None)
    reference = replace(reference, looks=len(schedule.looks)) if reference else None
    return Bench(selection, schedule, subjects, reference, here)


def starts(
    selection: Selection,
    schedule: Schedule,
    *,
    clones: Clones | None = None,
    against: Against | None = None,
    run: Run = asyncio.run,
) -> Report:
    """The report of images and machines that are started again and again, in turn with an empty machine. Raises
    ImagebuilderError."""
    bench = prepared(selection, schedule, clones=clones, against=against, run=run)
    run(bench.measure())
    return bench.report(store=selection.store)


def at_once(selection: Selection, options: DensityOptions, *, run: Run = asyncio.run) -> Report:
    """The report of clones of each image that are up at the same time. Raises ImagebuilderError."""
    images = [run(_at_once(each, options, selection)) for each in selection.images()]
    return report.of(host(selection.accelerator), images)


def _subjects(selection: Selection, request: Clones | None, run: Run) -> list[Subject]:
    images = selection.images()
    cloned = run(of_images(images, request, selection.store, say=selection.say)) if request else []
    return [*images, *cloned, *selection.foreign()]


def _compared(image: ImageReport, found: Mapping[str, Comparison]) -> ImageReport:
    """The image with its comparison. One that was built before keeps no promise any more."""
    update = {"budget": ()} if image.name.endswith(BEFORE) else {"comparison": found.get(image.name)}
    return image.model_copy(update=update)


async def _at_once(subject: Subject, options: DensityOptions, selection: Selection) -> ImageReport:
    assert subject.bundle is not None
    image, spec = subject.bundle.image, subject.spec
    template = await template_of(subject, selection.store, say=selection.say)
    found = await density.measure(template, options, say=selection.say)
    return ImageReport(
        name=subject.name,
        version=image.version,
        digest=image.digest,
        kernel=image.kernel.name,
        root=image.root.format,
        machine=MachineShape.of(spec),
        density=found,
        checks=(Check(name=CLONES, holds=found.holds, message=None if found.holds else found.why),),
    )
