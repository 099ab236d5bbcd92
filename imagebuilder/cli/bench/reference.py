"""``imagebuilder bench --vs``: what is compared with, and what a comparison means for the exit status."""

from collections.abc import Sequence

import click

from imagebuilder.cli.bench.modes import Mode
from imagebuilder.cli.bench.request import BenchRequest
from imagebuilder.measure.against import Against
from imagebuilder.measure.change import Verdict
from imagebuilder.measure.report import ImageReport
from imagebuilder.measure.rounds import FURTHER

FELL_SHORT, UNDECIDED = 1, 4
MODE = Mode("--vs", owns=("--max-runs", "--within", "--fail-slower", "--fail-undecided"))


def wanted(given: BenchRequest) -> Against | None:
    """What the options ask for. Raises UsageError."""
    if given.most is not None and given.most < given.runs:
        raise click.UsageError(f"--max-runs {given.most} is less than --runs {given.runs}")
    if given.reference is None:
        return None
    most = given.most or (FURTHER * given.runs if given.fail_undecided else given.runs)
    return Against(given.reference, None if given.within is None else given.within / 100, most)


def status(images: Sequence[ImageReport], *, fail_slower: bool = False, fail_undecided: bool = False) -> int:
    """A broken promise comes before a slower image, and that before an undecided one."""
    verdicts = [image.comparison.verdict for image in images if image.comparison]
    if not all(image.holds for image in images) or (fail_slower and Verdict.SLOWER in verdicts):
        return FELL_SHORT
    return UNDECIDED if fail_undecided and Verdict.UNDECIDED in verdicts else 0
