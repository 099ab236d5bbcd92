"""The tests that every recipe gives, without a line of code in the recipe."""

from pathlib import Path

import pytest

from imagebuilder.bundle import Bundle
from imagebuilder.machine.ending import How
from imagebuilder.measure.report import ImageReport
from imagebuilder.pytest_plugin.fixtures import InstanceFactory
from imagebuilder.pytest_plugin.workshop import Workshop
from imagebuilder.recipe.values import StopSignal


def builds(recipe_folder: Path, imagebuilder_workshop: Workshop) -> None:
    """The image can be made, and its files are those that it names."""
    imagebuilder_workshop.image(recipe_folder).check()


def boots(image: Bundle, instance_factory: InstanceFactory) -> None:
    """The kernel comes up, and init starts the application."""
    instance_factory(ready=False).wait_started()


def gets_ready(image: Bundle, instance_factory: InstanceFactory) -> None:
    """It gives the answer that the recipe waits for, in time."""
    instance_factory()


def answers(image: Bundle, instance_factory: InstanceFactory) -> None:
    """It does so again: the first answer was not the last one."""
    instance_factory().wait_ready()


def powers_off_with_status_0(image: Bundle, instance_factory: InstanceFactory) -> None:
    """Asked to end, the application does: with status 0 (or the one that the recipe names), or by the very signal that
    asked it, when it has no handler for that."""
    running = instance_factory()
    found = running.terminate()
    expected = running.ready.exit or 0
    asked = StopSignal(image.image.recipe["application"]["stop_signal"]).number
    if found.how is not How.APPLICATION or (found.status != expected and found.signal != asked):
        pytest.fail(f"{image.image.name}: {found.why}, and status {expected} was expected", pytrace=False)


def keeps(promise: str, figures: ImageReport) -> None:
    """One promise of the budget."""
    for check in figures.checks:
        if not check.holds:
            pytest.fail(
                f"{promise} was not measured: {check.message or f'{check.name} was not reached'}", pytrace=False
            )
    row = next(row for row in figures.budget if row.key == promise)
    if not row.holds:
        found = "was not measured" if row.value is None else f"is {row.value:,}"
        pytest.fail(f"{figures.name}: {promise} {found}, and at most {row.limit:,} is promised", pytrace=False)


def same_bytes_twice(image: Bundle, recipe_folder: Path, imagebuilder_workshop: Workshop, tmp_path: Path) -> None:
    """Every step that makes the image, run again in another folder, gives the same bytes."""
    again = imagebuilder_workshop.built_anew(recipe_folder, tmp_path)
    differing = [one.name for one, two in zip(image.files(), again.files(), strict=True) if not _same(one, two)]
    if differing:
        pytest.fail(f"{image.image.name}: {', '.join(differing)} had other bytes when built again", pytrace=False)


def _same(one: Path, two: Path) -> bool:
    return one.name == two.name and one.read_bytes() == two.read_bytes()


TESTS = tuple(
    test.__name__ for test in (builds, boots, gets_ready, answers, powers_off_with_status_0, keeps, same_bytes_twice)
)
