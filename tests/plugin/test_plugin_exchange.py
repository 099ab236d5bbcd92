"""What workers tell each other: read as it was written, and where that cannot be, measured again or said."""

from pathlib import Path

import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure.report import ImageReport
from imagebuilder.pytest_plugin.exchange import Measured, figures_at
from imagebuilder.pytest_plugin.reporting import MEASURED, Gathered
from tests.measure.reports import BARE, FULL

TOLD = Measured(of=("/recipes/app", "micro", "Shape()"), order=3, accelerator="tcg", why="no KVM", image=FULL)


def told(text: str) -> pytest.TestReport:
    """A test's report, as it comes from a worker."""
    report = pytest.TestReport("a.py::a", ("a.py", 1, "a"), {}, "passed", None, "call")
    setattr(report, MEASURED, text)
    return report


def test_figures_are_measured_once_and_read_as_they_were(tmp_path: Path) -> None:
    measured = []

    def measure() -> ImageReport:
        measured.append(1)
        return FULL

    for _ in range(3):
        assert figures_at(tmp_path / "figures.json", measure) == FULL
    assert measured == [1] and [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.parametrize(
    "left", [b"", b"{", b"[]", b"\xff", b'{"name": 5}', b"[" * 9000, FULL.model_dump_json().encode()[:-40]]
)
def test_what_a_killed_worker_left_is_measured_again(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(left)
    assert figures_at(path, lambda: FULL) == FULL
    assert figures_at(path, lambda: BARE) == FULL


@pytest.mark.tools
def test_what_is_told_is_what_was_measured() -> None:
    gathered = Gathered(None)
    for order in (5, 3, 4):
        gathered.pytest_runtest_logreport(told(TOLD.model_copy(update={"order": order}).to_text()))
    other = TOLD.model_copy(update={"of": ("/recipes/other", None, ""), "order": 0, "image": BARE})
    gathered.pytest_runtest_logreport(told(other.to_text()))
    report = gathered.report()
    assert report is not None and report.images == (BARE, FULL) and gathered.why == "no KVM"


@pytest.mark.parametrize("text", ["", "{", "{}", TOLD.to_text()[:-1], TOLD.to_text().replace("3", '"x"', 1), "\ud800"])
def test_what_cannot_be_read_is_said_and_no_measurement(text: str) -> None:
    with pytest.raises(InputError, match="what a worker of this session measured cannot be read"):
        Measured.of_text(text)
    gathered = Gathered(None)
    gathered.pytest_runtest_logreport(told(text))
    assert gathered.report() is None
