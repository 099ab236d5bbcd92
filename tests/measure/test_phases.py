"""The phases of a start add up, whatever the guest reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.measure.phases import PHASES, Start, ready, summaries

MS = 1_000_000
MARKS = {"greeting": 40 * MS, "init": 300 * MS, "mounts": 310 * MS, "application": 320 * MS}


def test_by_hand() -> None:
    assert Start(400 * MS, MARKS).phases_ms == {"qmp": 40, "kernel": 260, "init": 20, "application": 80}


@given(
    st.integers(1, 10**10), st.fixed_dictionaries({mark: st.integers(0, 10**10) for mark in [*PHASES.values()][:-1]})
)
def test_they_add_up_to_ready(ready_ns: int, marks: dict[str, int]) -> None:
    taken = [value for value in Start(ready_ns, marks).phases_ms.values() if value is not None]
    assert len(taken) == len(PHASES)
    assert min(taken) >= 0
    assert sum(taken) == pytest.approx(ready_ns / MS)


def test_what_the_guest_did_not_report_is_not_known() -> None:
    silent = Start(400 * MS, {"greeting": 40 * MS})
    assert silent.phases_ms == {"qmp": 40, "kernel": None, "init": None, "application": None}
    late = Start(400 * MS, {"greeting": 40 * MS, "application": 320 * MS})
    assert late.phases_ms == {"qmp": 40, "kernel": None, "init": None, "application": 80}


def test_one_start_without_a_mark_leaves_no_summary_of_its_phase() -> None:
    found = summaries([Start(400 * MS, MARKS), Start(500 * MS, {**MARKS, "application": 420 * MS})])
    assert found["init"] is not None and found["init"].samples == (20, 120)
    without = {mark: at for mark, at in MARKS.items() if mark != "application"}
    mixed = summaries([Start(400 * MS, MARKS), Start(500 * MS, without)])
    assert mixed["init"] is mixed["application"] is None
    assert mixed["kernel"] is not None


def test_ready() -> None:
    assert ready([Start(400 * MS, MARKS), Start(500 * MS, MARKS)]).samples == (400, 500)
