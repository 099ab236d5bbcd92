"""What a comparison would have seen: held against the verdicts of comparisons that really have that difference."""

import random
from itertools import product

import pytest

from imagebuilder.measure import bootstrap, detectable_effect
from imagebuilder.measure.change import CHANCE, Verdict, in_turn
from imagebuilder.measure.statistics import Summary


@pytest.mark.parametrize("rounds", [8, 9, 10, 11, 12])
def test_the_ranks_are_those_that_decide(rounds: int) -> None:
    """Every way in which so many rounds can fall, by the exact chance."""
    decided = [
        sum(rank for rank, against in enumerate(signs, 1) if against)
        for signs in product((False, True), repeat=rounds)
        if bootstrap.chance_paired([-rank if against else rank for rank, against in enumerate(signs, 1)]) <= CHANCE
    ]
    less = [each for each in decided if each < rounds * (rounds + 1) / 4]
    assert detectable_effect._most_against(rounds, CHANCE) == max(less, default=-1)


def test_few_rounds_see_nothing() -> None:
    assert detectable_effect.seen_from([1.0, 1.001, 0.999], chance=CHANCE) is None
    assert detectable_effect.seen_from([0.0] * 10, chance=CHANCE) is None


def test_what_scatters_less_is_seen_from_less() -> None:
    found = []
    for noise in (0.001, 0.05, 0.3):
        generator = random.Random(1)
        found.append(
            detectable_effect.seen_from([generator.lognormvariate(0, noise) for _ in range(20)], chance=CHANCE)
        )
    assert found[0] == detectable_effect.RATIOS[0]
    assert found == sorted(found, key=lambda each: each or 0) and len(set(found)) == 3


def test_more_rounds_see_more() -> None:
    generator = random.Random(2)
    ratios = [generator.lognormvariate(0, 0.1) for _ in range(40)]
    few, many = (detectable_effect.seen_from(ratios[:rounds], chance=CHANCE) for rounds in (10, 40))
    assert few and many and many < few


def test_such_a_difference_is_really_called() -> None:
    generator = random.Random(3)
    called = 0
    for _ in range(20):
        those = [500 * generator.lognormvariate(0, 0.05) for _ in range(20)]
        these = [500 * generator.lognormvariate(0, 0.05) for _ in range(20)]
        seen = in_turn("ready", Summary.of(these), Summary.of(those)).seen_from
        assert seen is not None
        longer = Summary.of([each * seen for each in these])
        called += in_turn("ready", longer, Summary.of(those)).verdict is Verdict.SLOWER
    assert called >= 12  # nine of ten of such runs; some of these have a difference the other way to begin with
