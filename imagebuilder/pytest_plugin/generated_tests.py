"""The tests that every recipe gives, without a line of code in the recipe. What takes time to import comes with the
fixtures: these are only collected, mostly."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagebuilder.pytest_plugin.fixtures import TRACES

if TYPE_CHECKING:
    from imagebuilder.measure.report import ImageReport
    from imagebuilder.pytest_plugin.boot_sequence import BootSequence
    from imagebuilder.pytest_plugin.session import Session


def builds(boot_sequence: "BootSequence") -> None:
    """The image can be made, and its files are those that it names."""
    boot_sequence.image().check()


def boots(boot_sequence: "BootSequence") -> None:
    """The kernel comes up, and init starts the application."""
    boot_sequence.booted()


def gets_ready(boot_sequence: "BootSequence") -> None:
    """It gives the answer that the recipe waits for, in time."""
    boot_sequence.ready()


def answers(boot_sequence: "BootSequence", request: pytest.FixtureRequest) -> None:
    """It does so again: the first answer was not the last one."""
    request.node.stash[TRACES].answer = boot_sequence.answer()


def powers_off_with_status_0(boot_sequence: "BootSequence") -> None:
    """Asked to end, the application does: with status 0 (or the one that the recipe names), by the very signal that
    asked it, when it has no handler for that, or with 128 + its number, as a JVM and a shell say the same."""
    from imagebuilder.machine.ending import How

    running, found = boot_sequence.ended()
    image = running.image.image
    expected, asked = running.ready.exit or 0, image.recipe.stop_signal.number
    if found.how is not How.APPLICATION or (found.status not in (expected, 128 + asked) and found.signal != asked):
        pytest.fail(f"{image.name}: {found.why}, where status {expected} was expected", pytrace=False)


def starts_every_time(boot_figures: "ImageReport", boot_sequence: "BootSequence") -> None:
    """Started again and again, in turn with an empty machine, it gets ready each time: these starts are measured."""
    boot_sequence.check(boot_figures)


def keeps(promise: str, boot_figures: "ImageReport", boot_sequence: "BootSequence") -> None:
    """One promise of the budget."""
    boot_sequence.check(boot_figures)
    row = next(row for row in boot_figures.budget if row.key == promise)
    if not row.holds:
        found = "was not measured" if row.value is None else f"is {row.value:,}"
        pytest.fail(f"{boot_figures.name}: {promise} {found}, and at most {row.limit:,} is promised", pytrace=False)


def same_bytes_twice(boot_sequence: "BootSequence", imagebuilder_session: "Session") -> None:
    """Every step that makes the image, run again in another folder, gives the same bytes."""
    image = boot_sequence.image()
    with imagebuilder_session.store.scratch() as folder:
        again = imagebuilder_session.built_anew(boot_sequence.subject, folder)
        pairs = zip(imagebuilder_session.files(image), again.files, strict=True)
        differing = [one.name for one, two in pairs if not _same(one, two)]
    if differing:
        pytest.fail(f"{image.image.name}: {', '.join(differing)} had other bytes when built again", pytrace=False)


def _same(one: Path, two: Path) -> bool:
    return one.name == two.name and one.read_bytes() == two.read_bytes()


TESTS = tuple(
    test.__name__
    for test in (
        builds,
        boots,
        gets_ready,
        answers,
        powers_off_with_status_0,
        starts_every_time,
        keeps,
        same_bytes_twice,
    )
)
