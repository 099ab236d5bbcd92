"""What images are compared with: an older report, another image of the same run, or images that were built before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagebuilder.bundle import IMAGE_JSON, Bundle
from imagebuilder.errors import InputError
from imagebuilder.measure import report
from imagebuilder.measure.change import WITHIN, Rule, Verdict
from imagebuilder.measure.compare import Comparison, apart, check_comparable, check_whole, paired
from imagebuilder.measure.host import Host
from imagebuilder.measure.report import ImageReport, Report, Startup
from imagebuilder.measure.rounds import Taken
from imagebuilder.measure.subject import Subject

AGAIN, BEFORE = " again", " before"


@dataclass(frozen=True, slots=True)
class Reference:
    """What was given to compare with, by its name. ``older`` is a report, ``beside`` has for each image that of the
    same run; ``within`` is what counts as the same, None what each recipe says; ``looks`` how often that is asked."""

    name: str
    older: Report | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    within: float | None = None
    looks: int = 1

    def comparisons(self, taken: Sequence[Taken]) -> dict[str, Comparison]:
        """Each image by its name; those that have nothing to be compared with, and the references, are left out."""
        startups = {each.subject.name: each.startup for each in taken}
        found = {each.subject.name: self._comparison(each.subject, startups) for each in taken}
        return {name: comparison for name, comparison in found.items() if comparison is not None}

    def decided(self, taken: Sequence[Taken]) -> bool:
        """Whether nothing is undecided."""
        return all(each.verdict is not Verdict.UNDECIDED for each in self.comparisons(taken).values())

    def _comparison(self, subject: Subject, startups: Mapping[str, Startup]) -> Comparison | None:
        rule = Rule(within_of(subject) if self.within is None else self.within, self.looks)
        these = startups[subject.name]
        if self.older is not None:
            then = in_report(subject.name, self.older)
            return apart(these, then, reference=self.name, rule=rule) if then else None
        beside = self.beside.get(subject.name)
        return paired(these, startups[beside], reference=beside, rule=rule) if beside else None


def within_of(subject: Subject) -> float:
    """What its recipe says counts as the same."""
    percent = subject.bundle.image.recipe.bench.within_percent if subject.bundle else None
    return WITHIN if percent is None else percent / 100


def older(path: Path, here: Host, names: Sequence[str]) -> Report:
    """A report to compare images of these names with. Raises InputError when it is none, was made elsewhere, or has
    figures of none of them."""
    document = report.load(path)
    check_comparable(here, document.host, reference=str(path))
    for image in document.images:
        if image.startup is not None:
            check_whole(image.startup, reference=str(path))
    if not any(in_report(name, document) for name in names):
        there = ", ".join(image.name for image in _started(document)) or "none that started"
        raise InputError(f"{path} has no figures of {', '.join(names)}; the images in it: {there}")
    return document


def in_report(name: str, document: Report) -> Startup | None:
    """The figures of an image of this name; where the report has but one image, of that."""
    started = _started(document)
    same = [image for image in started if image.name == name] or (started if len(started) == 1 else [])
    return same[0].startup if same else None


def _started(document: Report) -> list[ImageReport]:
    return [image for image in document.images if image.startup is not None]


def holds_images(folder: Path) -> bool:
    """Whether a folder is an image that was built, or has such in it."""
    return (folder / IMAGE_JSON).is_file() or any(folder.glob(f"*/{IMAGE_JSON}"))


def built_before(folder: Path, name: str) -> Bundle | None:
    """The image of this name in a folder of images that were built, or the one image that the folder is; None where
    there is none. Raises InputError for one that is broken."""
    if (folder / IMAGE_JSON).is_file():
        return Bundle.open(folder)
    return Bundle.open(folder / name) if (folder / name / IMAGE_JSON).is_file() else None


def again(subject: Subject) -> Subject:
    """An image that is its own reference runs twice: it shows what the noise of this host alone looks like."""
    return replace(subject, name=subject.name + AGAIN)
