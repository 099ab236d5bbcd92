"""What the generated tests of one image share: an error is told once, and again by the test that told it."""

from pathlib import Path

import pytest

from imagebuilder.errors import ClosureError
from imagebuilder.pytest_plugin.boot_sequence import NOT_REACHED, BootSequence
from imagebuilder.pytest_plugin.session import ImageUnderTest, Session, Settings, Shape
from tests.app import recipe_text


@pytest.fixture
def boot_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootSequence:
    """That of a recipe whose command is not in its image."""
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app").write_text("")
    text = recipe_text(more="[budget]\nimage_bytes = 1\n")
    (tmp_path / "app" / "recipe.toml").write_text(text.replace("/usr/bin/app", "/usr/bin/ap"))
    settings = Settings(Shape("tcg"), 1, tmp_path / "out", tmp_path / "artefacts", tmp_path)
    return BootSequence(Session(settings), ImageUnderTest(tmp_path / "app"), settings.shape)


def test_an_error_is_told_by_the_first_test_that_meets_it(boot_sequence: BootSequence) -> None:
    boot_sequence.enter("boots")
    with pytest.raises(ClosureError):
        boot_sequence.booted()
    for number in range(2):
        boot_sequence.enter(f"other {number}")
        with pytest.raises(pytest.skip.Exception, match=NOT_REACHED):
            boot_sequence.image()


def test_a_test_that_is_run_again_is_not_skipped(boot_sequence: BootSequence) -> None:
    for _ in range(3):
        boot_sequence.enter("boots")
        with pytest.raises(ClosureError):
            boot_sequence.booted()


def test_what_could_not_be_built_is_reported_nevertheless(boot_sequence: BootSequence) -> None:
    boot_sequence.enter("starts")
    figures = boot_sequence.figures()
    assert [check.holds for check in figures.checks] == [False, None, None]
    assert [(row.key, row.value, row.holds) for row in figures.budget] == [("image_bytes", None, False)]
    with pytest.raises(ClosureError):
        boot_sequence.check(figures)
    boot_sequence.enter("keeps")
    with pytest.raises(pytest.skip.Exception):
        boot_sequence.check(figures)
