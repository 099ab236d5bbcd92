"""One figure beside its reference, in figures: samples without chance, and the verdict that each bound gives."""

from dataclasses import astuple

import pytest

from imagebuilder.measure import bootstrap, detectable_effect
from imagebuilder.measure.change import CONFIDENCE, DEFAULT, EFFECT, Change, Rule, Verdict, apart, direction, in_turn
from imagebuilder.measure.statistics import Summary

ROUNDS = 12
SLOWER, FASTER, SAME, UNDECIDED = Verdict.SLOWER, Verdict.FASTER, Verdict.SAME, Verdict.UNDECIDED


def around(middle: float, spread: float = 0.001, rounds: int = ROUNDS) -> Summary:
    """Samples around ``middle``, the outer ones off by ``spread`` of it."""
    return Summary.of([middle * (1 + spread * (2 * at / (rounds - 1) - 1)) for at in range(rounds)])


def turned(summary: Summary) -> Summary:
    """The same samples in another order."""
    return Summary.of(summary.samples[5:] + summary.samples[:5])


@pytest.mark.parametrize(("rule", "seen"), [(Rule(0.5), True), (Rule(0.5, 6), False)])
def test_the_figures_of_a_change_in_turn(rule: Rule, seen: bool) -> None:
    this, that = turned(around(300, 0.1)), around(300, 0.1)
    ratios = [one / other for one, other in zip(this.samples, that.samples, strict=True)]
    low, high = bootstrap.of_median(ratios, confidence=CONFIDENCE)
    seen_from = detectable_effect.seen_from(ratios, chance=rule.chance)
    assert (seen_from is not None) == seen, "twelve rounds cannot show anything at six looks"
    assert astuple(in_turn("x", this, that, rule=rule)) == (
        *("x", SAME, round(sorted(ratios)[5] / 2 + sorted(ratios)[6] / 2, 4), round(low, 4), round(high, 4)),
        *(round(this.median - that.median, 3), seen_from),
    )


def test_the_figures_of_a_change_apart() -> None:
    this, that = around(301, 0.3), around(300, 0.2, 9)
    low, high = bootstrap.of_ratio(this.samples, that.samples, confidence=CONFIDENCE)
    found = Change("x", UNDECIDED, round(301 / 300, 4), round(low, 4), round(high, 4), 1.0)
    assert apart("x", this, that) == in_turn("x", this, that) == found
    assert found.low != round(bootstrap.of_ratio(this.samples, that.samples)[0], 4)


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_what_took_no_time_has_no_ratio(bad: float) -> None:
    good, broken = around(300), Summary.of([bad, *around(300).samples[1:]])
    for judge in (apart, in_turn):
        for this, that in ((good, broken), (broken, good)):
            difference = round(this.median - that.median, 3)
            assert judge("x", this, that) == Change("x", UNDECIDED, 1.0, 1.0, 1.0, difference)
    assert apart("x", Summary.of([0.0012, 0.0]), Summary.of([0.0])).difference == 0.001


@pytest.mark.parametrize("middle", [0.5, 3.0])
def test_what_took_little_time_has_one(middle: float) -> None:
    for judge in (apart, in_turn):
        assert judge("x", around(2 * middle), around(middle)).verdict is SLOWER
    assert in_turn("x", turned(around(middle, 0.1)), around(middle, 0.1)).seen_from is not None, "by its rounds"


def test_rounds_that_do_not_fit_are_compared_by_the_same_rule() -> None:
    this, that, wide = around(300, 0.2), around(300, 0.2, 9), Rule(0.6, 3)
    assert in_turn("x", this, that, rule=wide) == apart("x", this, that, rule=wide)
    assert (in_turn("x", this, that, rule=wide).verdict, in_turn("x", this, that).verdict) == (SAME, UNDECIDED)


@pytest.mark.parametrize("judge", [apart, in_turn])
@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.11, SLOWER),
        (1 / 1.11, FASTER),
        (1 + EFFECT + 0.003, SLOWER),
        (1 / (1 + EFFECT + 0.003), FASTER),
        (1 + EFFECT - 0.003, SAME),
        (1 / (1 + EFFECT - 0.003), SAME),
    ],
)
def test_what_differs_by_more_than_is_of_use(judge: type, factor: float, verdict: Verdict) -> None:
    assert judge("x", around(300 * factor), around(300)).verdict is verdict
    assert judge("x", around(300 * factor), around(300), rule=Rule(0.01)).verdict is (
        UNDECIDED if verdict is SAME else verdict
    )


@pytest.mark.parametrize("judge", [apart, in_turn])
def test_a_figure_of_few_ms_is_the_same_within_the_least(judge: type) -> None:
    assert judge("x", around(2.9), around(2.0)).verdict is SLOWER
    assert judge("x", around(2.9), around(2.0), least=1.0).verdict is SAME
    assert judge("x", around(3.1), around(2.0), least=1.0).verdict is SLOWER
    assert judge("x", around(1.9), around(3.0), least=1.0).verdict is FASTER
    assert judge("x", around(2.45), around(2.0, 0.001, 9), least=0.5).verdict is SAME
    assert judge("x", around(20.0), around(20.0, 0.2), least=1.0, rule=Rule(0.01)).verdict is UNDECIDED


@pytest.mark.parametrize("judge", [apart, in_turn])
def test_the_bounds_count_as_said(monkeypatch: pytest.MonkeyPatch, judge: type) -> None:
    """An interval that ends at 1 holds it, one that ends at the limit is not inside; a chance of just as much is
    rare enough."""
    this, that, same = Summary.of([312.0] * ROUNDS), Summary.of([300.0] * ROUNDS), Summary.of([301.0] * ROUNDS)

    def found(interval: tuple[float, float], chance: float, figure: Summary) -> Verdict:
        for name in ("of_median", "of_ratio"):
            monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: interval)
        for name in ("chance_paired", "chance_apart"):
            monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: chance)
        verdict: Verdict = judge("x", figure, that).verdict
        return verdict

    assert found((1.01, 1.5), DEFAULT.chance, this) is SLOWER
    assert found((1.0, 1.5), DEFAULT.chance, this) is found((0.5, 1.0), DEFAULT.chance, this) is UNDECIDED
    assert found((0.95, 1.05), DEFAULT.same_chance, same) is SAME
    for interval in ((1 / 1.1, 1.05), (0.95, 1.1)):
        assert found(interval, DEFAULT.same_chance, same) is UNDECIDED


@pytest.mark.parametrize("judge", [apart, in_turn])
def test_a_difference_asks_the_ranks(monkeypatch: pytest.MonkeyPatch, judge: type) -> None:
    for name in ("of_median", "of_ratio"):
        monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: (1.01, 1.5))
    this = Summary.of([280.0, 320.0, 290.0, 330.0] * 3)
    assert judge("x", this, Summary.of([295.0 + at / 10 for at in range(ROUNDS)])).verdict is UNDECIDED


@pytest.mark.parametrize("judge", [apart, in_turn])
@pytest.mark.parametrize(("low", "high"), [(1.3, 1.31), (1 / 1.31, 1 / 1.3)])
def test_the_same_asks_the_ranks_on_either_side(
    monkeypatch: pytest.MonkeyPatch, judge: type, low: float, high: float
) -> None:
    """Whatever the interval says, ranks beyond one of the bounds are not the same."""
    for name in ("of_median", "of_ratio"):
        monkeypatch.setattr(bootstrap, name, lambda *_args, **_words: (0.95, 1.05))
    this = Summary.of([300 * (low + (high - low) * at / ROUNDS) for at in range(ROUNDS)])
    that = Summary.of([300 + at / 100 for at in range(ROUNDS)])
    assert judge("x", this, that).verdict is UNDECIDED
    assert judge("x", this, that, rule=Rule(0.5)).verdict is SAME


def test_what_a_rule_says() -> None:
    assert Rule(0.05).said(SAME) == "the same within 5 %"
    assert [Rule(0.05).said(each) for each in (SLOWER, FASTER, UNDECIDED)] == ["slower", "faster", "undecided"]
    assert (Rule(looks=4).chance, Rule(looks=4).same_chance) == (0.002 / 4, 0.02 / 4)
    assert [direction(ratio) for ratio in (1.01, 0.99)] == [SLOWER, FASTER]
