"""What the generated tests of one image share: an error is told once, and again by the test that told it."""

from pathlib import Path

import pytest

from imagebuilder.errors import ClosureError
from imagebuilder.pytest_plugin.course import NOT_REACHED, Course
from imagebuilder.pytest_plugin.workshop import Shape, Subject, Wishes, Workshop
from tests.app import recipe_text


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    """That of a recipe whose command is not in its image."""
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app").write_text("")
    text = recipe_text(more="[budget]\nimage_bytes = 1\n")
    (tmp_path / "app" / "recipe.toml").write_text(text.replace("/usr/bin/app", "/usr/bin/ap"))
    wishes = Wishes(Shape("tcg"), 1, tmp_path / "out", tmp_path / "artefacts", tmp_path)
    return Course(Workshop(wishes), Subject(tmp_path / "app"), wishes.shape)


def test_an_error_is_told_by_the_first_test_that_meets_it(course: Course) -> None:
    course.enter("boots")
    with pytest.raises(ClosureError):
        course.booted()
    for number in range(2):
        course.enter(f"other {number}")
        with pytest.raises(pytest.skip.Exception, match=NOT_REACHED):
            course.image()


def test_a_test_that_is_run_again_is_not_skipped(course: Course) -> None:
    for _ in range(3):
        course.enter("boots")
        with pytest.raises(ClosureError):
            course.booted()


def test_what_could_not_be_built_is_reported_nevertheless(course: Course) -> None:
    course.enter("starts")
    figures = course.figures()
    assert [check.holds for check in figures.checks] == [False, None, None]
    assert [(row.key, row.value, row.holds) for row in figures.budget] == [("image_bytes", None, False)]
    with pytest.raises(ClosureError):
        course.check(figures)
    course.enter("keeps")
    with pytest.raises(pytest.skip.Exception):
        course.check(figures)
