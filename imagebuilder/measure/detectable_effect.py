"""What a comparison would have seen: an undecided one says only that there is no larger difference than that.

The rounds that were measured are taken again and again at random, with a difference added; the least one that is called
in nine of ten such runs is what the comparison is good for.
"""

import random
from collections.abc import Sequence
from functools import cache
from statistics import median

from imagebuilder.measure import bootstrap

POWER = 0.9
TRIES = 100
RATIOS = (1.02, 1.03, 1.04, 1.05, 1.07, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0)


def seen_from(ratios: Sequence[float], *, chance: float) -> float | None:
    """The least of ``RATIOS`` that rounds which scatter as these would show by their ranks; None when not even the
    largest. ``chance`` is how likely ranks may be without any difference."""
    middle = median(ratios)
    if middle <= 0:
        return None
    around = [each / middle for each in ratios]
    return next((ratio for ratio in RATIOS if _power(around, ratio, chance) >= POWER), None)


def _power(around: Sequence[float], ratio: float, chance: float) -> float:
    """How often rounds around 1 that are longer by ``ratio`` are called slower."""
    generator, few = random.Random(bootstrap.SEED), _most_against(len(around), chance)
    runs = ([each * ratio - 1 for each in generator.choices(around, k=len(around))] for _ in range(TRIES))
    return sum(_against(differences) <= few for differences in runs) / TRIES


def _against(differences: Sequence[float]) -> int:
    """The sum of the ranks of what is not above 0."""
    ordered = sorted(differences, key=abs)
    return sum(rank for rank, difference in enumerate(ordered, 1) if difference <= 0)


@cache
def _most_against(rounds: int, chance: float) -> int:
    """The largest sum of ranks on one side that is still unlikely enough, by Wilcoxon; -1 when so few rounds can show
    nothing."""
    ways = [1] + [0] * (rounds * (rounds + 1) // 2)
    for rank in range(1, rounds + 1):
        for reached in range(len(ways) - 1, rank - 1, -1):
            ways[reached] += ways[reached - rank]
    tail = 0
    for most, count in enumerate(ways):
        tail += count
        if 2 * tail > chance * 2**rounds:
            return most - 1
    return len(ways)
