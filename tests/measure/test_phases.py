"""The phases of a start add up, whatever the guest reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.measure.phases import MEANING, PHASES, Start, clock_step_ms, ready, summaries

MS = 1_000_000
MARKS = {
    "greeting": 40 * MS,
    "running": 50 * MS,
    "kernel": 80 * MS,
    "init": 300 * MS,
    "mounts": 310 * MS,
    "network": 315 * MS,
    "application": 320 * MS,
    "listening": 390 * MS,
}
ALL = {
    "qmp": 40,
    "machine": 10,
    "firmware": 30,
    "kernel": 220,
    "init": 10,
    "network": 5,
    "handover": 5,
    "application": 70,
    "answer": 10,
}


def without(*marks: str) -> dict[str, int]:
    return {mark: at for mark, at in MARKS.items() if mark not in marks}


def test_by_hand() -> None:
    assert Start(400 * MS, MARKS).phases_ms == ALL
    assert list(PHASES) == list(ALL) == list(MEANING)


@given(
    st.integers(1, 10**10),
    st.fixed_dictionaries({mark: st.integers(0, 10**10) for mark in MARKS if mark != "listening"}),
    st.none() | st.integers(0, 10**10),
)
def test_they_add_up_to_ready(ready_ns: int, marks: dict[str, int], listening_ns: int | None) -> None:
    more = {} if listening_ns is None else {"listening": listening_ns}
    taken = [value for value in Start(ready_ns, marks | more).phases_ms.values() if value is not None]
    assert len(taken) == len(PHASES) - (listening_ns is None)
    assert min(taken) >= 0
    assert sum(taken) == pytest.approx(ready_ns / MS)


def test_what_the_guest_did_not_report_is_not_known() -> None:
    silent = Start(400 * MS, {"greeting": 40 * MS, "running": 50 * MS}).phases_ms
    assert {name: took for name, took in silent.items() if took is not None} == {"qmp": 40, "machine": 10}
    late = Start(400 * MS, without("init")).phases_ms
    assert (late["kernel"], late["init"], late["network"]) == (None, None, 5)


def test_where_no_port_is_asked_the_application_lasts_until_it_is_ready() -> None:
    assert Start(400 * MS, without("listening")).phases_ms == {**ALL, "application": 80, "answer": None}


def test_one_start_without_a_mark_leaves_no_summary_of_its_phase() -> None:
    found = summaries([Start(400 * MS, MARKS), Start(500 * MS, {**MARKS, "mounts": 312 * MS})])
    assert found["init"] is not None and found["init"].samples == (10, 12)
    mixed = summaries([Start(400 * MS, MARKS), Start(500 * MS, without("mounts"))])
    assert mixed["init"] is mixed["network"] is None
    assert mixed["kernel"] is not None


def test_one_start_that_was_not_seen_to_listen_leaves_phases_that_add_up_in_all() -> None:
    """Of clones that answer at once, one now and then answers before it is seen to listen."""
    found = summaries([Start(400 * MS, MARKS), Start(500 * MS, without("listening")), Start(450 * MS, MARKS)])
    assert found["application"] is not None and found["application"].samples == (80, 180, 130)
    assert found["answer"] is None
    known = [each.samples for each in found.values() if each is not None]
    assert [sum(each[run] for each in known) for run in range(3)] == pytest.approx([400, 500, 450])


def test_ready() -> None:
    assert ready([Start(400 * MS, MARKS), Start(500 * MS, MARKS)]).samples == (400, 500)


def test_a_coarse_clock_is_told() -> None:
    fine, coarse = Start(400 * MS, MARKS, 1_200), Start(400 * MS, MARKS, 10 * MS)
    assert clock_step_ms([fine, Start(400 * MS, MARKS)]) is None
    assert clock_step_ms([fine, coarse]) == 10
