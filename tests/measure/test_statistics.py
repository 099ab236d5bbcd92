"""Summaries: by hand, and against properties that hold for all samples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.measure.statistics import Summary, nearest_rank

samples = st.lists(st.integers(0, 10**7).map(lambda number: number / 1000), min_size=1, max_size=60)


def test_by_hand() -> None:
    assert Summary.of([5, 1, 3, 2]) == Summary(median=2.5, p95=5, min=1, max=5, samples=(5, 1, 3, 2))


def test_p95_is_the_nearest_rank() -> None:
    assert nearest_rank(range(1, 101), 0.95) == 95
    assert nearest_rank(range(1, 20), 0.95) == 19
    assert nearest_rank(range(1, 21), 0.95) == 19
    assert nearest_rank([7], 0.95) == 7


@given(samples)
def test_figures_are_in_order_and_seen(taken: list[float]) -> None:
    summary = Summary.of(taken)
    assert summary.min <= summary.median <= summary.p95 <= summary.max
    assert {summary.min, summary.p95, summary.max} <= set(taken)
    assert sum(sample <= summary.p95 for sample in taken) >= 0.95 * len(taken)
    assert sum(sample < summary.p95 for sample in taken) < 0.95 * len(taken)


def test_json() -> None:
    assert json.loads(json.dumps(Summary.of([1.00049, 2]).as_json())) == {
        "median": 1.5, "p95": 2, "min": 1, "max": 2, "samples": [1, 2],
    }  # fmt: skip


def test_nothing_measured_is_no_summary() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Summary.of([])
