"""Every door of the Python code: valid inputs are read, and any others read or refused in a sentence, soon.

``make fuzz`` puts many more through them, within limits of memory too (``trying.py``).
"""

import re
import signal
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples

from . import trying
from .doors import DOORS, ROOT, Door, is_refusal
from .mutation import mutated
from .targets import TARGETS
from .trying import through, trial, watch

EXAMPLES = examples(60)
NAME = re.compile("`([^`]+)`")
again = count()


@pytest.fixture(scope="module", autouse=True)
def _watched() -> None:
    watch()


def tried(name: str, data: bytes, folder: Path) -> bool:
    """Whether an input was accepted; it went well in any case."""
    place = folder / str(next(again))
    place.mkdir()
    outcome = through(DOORS[name], data, place)
    assert outcome.wrong is None, f"{data!r}\n{outcome.wrong}"
    return outcome.accepted


@pytest.mark.parametrize("name", DOORS)
def test_what_is_valid_is_read(name: str, tmp_path: Path) -> None:
    assert all(tried(name, data, tmp_path) for data in DOORS[name].corpus)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", DOORS)
def test_what_is_nearly_valid_is_read_or_refused(name: str, tmp_path: Path) -> None:
    @settings(max_examples=EXAMPLES, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        tried(name, mutated(DOORS[name].corpus, DOORS[name].words, seed), tmp_path)

    holds()


@pytest.mark.parametrize("name", DOORS)
def test_any_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    @settings(max_examples=EXAMPLES // 2, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=300))
    def holds(data: bytes) -> None:
        tried(name, data, tmp_path)

    holds()


def test_the_table_names_every_target_and_files_that_are_there() -> None:
    table = (ROOT / "docs/testing.md").read_text().partition("## Doors")[2].partition("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in table.splitlines() if row.startswith("| ")][1:]
    assert {name for row in rows for name in NAME.findall(row[2])} == {*DOORS, *TARGETS}
    parsers, tests = ([path for row in rows for path in NAME.findall(row[column])] for column in (1, 3))
    assert [path for path in parsers if not (ROOT / "imagebuilder" / path).exists()] == []
    assert [path for path in tests if not (ROOT / path).exists()] == []


def test_a_fault_of_a_door_is_found(tmp_path: Path) -> None:
    """One that raises something else for what is no UTF-8, and one that writes elsewhere."""
    wrong = Door("wrong", "a door", lambda data, _folder: data.decode(), (b"good",))
    assert "UnicodeDecodeError" in str(trial(wrong, inputs=500).faults)
    outside = Door("outside", "a door", lambda data, _folder: (tmp_path / "x").write_bytes(data), (b"good",))
    assert "outside" in str(trial(outside, inputs=1).faults)
    assert not is_refusal(wrong, ValueError("x"))


def test_a_hang_is_found_whatever_the_door_catches(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes, _folder: Path) -> None:
        with suppress(Exception):
            time.sleep(5)

    monkeypatch.setattr(trying, "MOST_S", 1)
    monkeypatch.setattr(trying, "MOST_WAITED_S", 1)
    before = signal.signal(signal.SIGALRM, trying.ring)
    try:
        assert "Hang" in str(trial(Door("slow", "a door", read, (b"good",)), inputs=1).faults)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_hang_counts_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host most inputs take long by the clock."""

    def read(data: bytes, _folder: Path) -> None:
        while data:
            pass

    monkeypatch.setattr(trying, "MOST_S", 0.5)
    assert "Hang" in str(trial(Door("slow", "a door", read, (b"good",)), inputs=1).faults)
