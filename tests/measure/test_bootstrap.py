"""Intervals and chances: by hand, against properties, and against what they promise over many draws."""

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.measure import bootstrap
from imagebuilder.measure.statistics import Summary
from tests.examples import examples

samples = st.lists(st.integers(1, 10**6).map(float), min_size=3, max_size=20)


@settings(deadline=None, max_examples=examples(40))  # the machine may be busy
@given(samples)
def test_the_interval_holds_the_median_and_is_the_same_again(taken: list[float]) -> None:
    low, high = bootstrap.of_median(taken)
    assert min(taken) <= low <= median(taken) <= high <= max(taken)
    assert bootstrap.of_median(taken) == (low, high)


@settings(deadline=None, max_examples=examples(40))  # the machine may be busy
@given(samples, st.sampled_from([0.5, 2.0, 8.0]))
def test_a_ratio_of_a_series_to_its_multiple(taken: list[float], factor: float) -> None:
    scaled = [each * factor for each in taken]
    assert bootstrap.of_paired_ratio(scaled, taken) == pytest.approx((factor, factor))
    low, high = bootstrap.of_ratio(scaled, taken)
    assert low <= factor * (1 + 1e-9) and high >= factor * (1 - 1e-9)


def test_more_confidence_is_a_wider_interval() -> None:
    taken = [float(each) for each in range(1, 31)]
    narrow, wide = bootstrap.of_median(taken, confidence=0.8), bootstrap.of_median(taken, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = random.Random(1)
    draws = [[generator.lognormvariate(0, 0.3) for _ in range(15)] for _ in range(120)]
    held = sum(low <= 1 <= high for low, high in map(bootstrap.of_median, draws))
    assert 0.88 <= held / len(draws) <= 0.99


@pytest.mark.parametrize(
    ("differences", "chance"),
    [
        ([1.0, 2.0, 3.0, 4.0], 2 / 16),
        ([-1.0, 2.0, 3.0, 4.0], 4 / 16),
        ([float(each) for each in range(1, 11)], 2 / 1024),
        ([-float(each) for each in range(1, 11)], 2 / 1024),
        ([1.0, -1.0], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
        ([], 1.0),
    ],
)
def test_signed_ranks_by_hand(differences: list[float], chance: float) -> None:
    assert bootstrap.chance_paired(differences) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("these", "those", "chance"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 2 / 20),
        ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], 2 / 20),
        ([1.0, 2.0, 4.0], [3.0, 5.0, 6.0], 4 / 20),
        ([1.0, 1.0], [1.0, 1.0], 1.0),
    ],
)
def test_ranks_apart_by_hand(these: list[float], those: list[float], chance: float) -> None:
    assert bootstrap.chance_apart(these, those) == pytest.approx(chance)


def test_a_summary_gets_its_interval_when_it_has_enough_samples() -> None:
    assert Summary.of([1, 2]).with_interval().ci95 is None
    assert Summary.of([1, 2]).with_interval().inconclusive
    steady, wild = (Summary.of(each).with_interval() for each in ([100, 101, 99, 100, 100], [50, 100, 200, 75, 150]))
    assert steady.ci95 is not None and not steady.inconclusive
    assert wild.inconclusive
    assert steady.as_json()["ci95"] == list(steady.ci95)
