"""The tests that every recipe gives, without a line of code in the recipe. What takes time to import comes with the
fixtures: these are only collected, mostly."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagebuilder.pytest_plugin.fixtures import TRACES

if TYPE_CHECKING:
    from imagebuilder.measure.report import ImageReport
    from imagebuilder.pytest_plugin.course import Course
    from imagebuilder.pytest_plugin.workshop import Workshop


def builds(course: "Course") -> None:
    """The image can be made, and its files are those that it names."""
    course.image().check()


def boots(course: "Course") -> None:
    """The kernel comes up, and init starts the application."""
    course.booted()


def gets_ready(course: "Course") -> None:
    """It gives the answer that the recipe waits for, in time."""
    course.ready()


def answers(course: "Course", request: pytest.FixtureRequest) -> None:
    """It does so again: the first answer was not the last one."""
    request.node.stash[TRACES].answer = course.answer()


def powers_off_with_status_0(course: "Course") -> None:
    """Asked to end, the application does: with status 0 (or the one that the recipe names), or by the very signal that
    asked it, when it has no handler for that."""
    from imagebuilder.machine.ending import How
    from imagebuilder.recipe.values import StopSignal

    running, found = course.ended()
    image = running.image.image
    expected, asked = running.ready.exit or 0, StopSignal(image.recipe["application"]["stop_signal"]).number
    if found.how is not How.APPLICATION or (found.status != expected and found.signal != asked):
        pytest.fail(f"{image.name}: {found.why}, where status {expected} was expected", pytrace=False)


def starts_every_time(course_figures: "ImageReport", course: "Course") -> None:
    """Started again and again, in turn with an empty machine, it gets ready each time: these starts are measured."""
    course.check(course_figures)


def keeps(promise: str, course_figures: "ImageReport", course: "Course") -> None:
    """One promise of the budget."""
    course.check(course_figures)
    row = next(row for row in course_figures.budget if row.key == promise)
    if not row.holds:
        found = "was not measured" if row.value is None else f"is {row.value:,}"
        pytest.fail(f"{course_figures.name}: {promise} {found}, and at most {row.limit:,} is promised", pytrace=False)


def same_bytes_twice(course: "Course", imagebuilder_workshop: "Workshop") -> None:
    """Every step that makes the image, run again in another folder, gives the same bytes."""
    image = course.image()
    with imagebuilder_workshop.store.scratch() as folder:
        again = imagebuilder_workshop.built_anew(course.subject, folder)
        differing = [one.name for one, two in zip(image.files(), again.files(), strict=True) if not _same(one, two)]
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
