"""Intervals by resampling (the percentile bootstrap), with a generator of its own seed: the same samples give the same
interval. Ranks decide what resampling alone would say too boldly from ten samples.
"""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from statistics import median

RESAMPLES = 1000
SEED = 20_240_229
CONFIDENCE = 0.95

Interval = tuple[float, float]


def of_median(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The interval in which the median lies."""
    return _interval([median(taken) for (taken,) in _resampled(samples)], confidence)


def of_paired_ratio(these: Sequence[float], those: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the median of the ratios within each round: weather that both felt cancels out."""
    return of_median([this / that for this, that in zip(these, those, strict=True)], confidence=confidence)


def of_ratio(these: Sequence[float], those: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the ratio of the medians of two series that were taken apart."""
    return _interval([median(this) / median(that) for this, that in _resampled(these, those)], confidence)


def _resampled(*series: Sequence[float]) -> list[tuple[list[float], ...]]:
    generator = random.Random(SEED)
    return [tuple(generator.choices(each, k=len(each)) for each in series) for _ in range(RESAMPLES)]


def _interval(figures: list[float], confidence: float) -> Interval:
    figures.sort()
    outside = round(len(figures) * (1 - confidence) / 2)
    return figures[outside], figures[-1 - outside]


def chance_paired(differences: Sequence[float]) -> float:
    """How likely differences so one-sided are when there is none: Wilcoxon's signed ranks, both sides, exactly.

    Differences of 0 are left out. Ten differences of one sign give 2/1024.
    """
    ranks, signs = _signed_ranks([each for each in differences if each])
    total = sum(ranks)
    # How many of the 2**n choices of signs give each sum of positive ranks (doubled, so that ties are whole numbers).
    ways = [1] + [0] * total
    for rank in ranks:
        for reached in range(total, rank - 1, -1):
            ways[reached] += ways[reached - rank]
    positive = sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
    tail = sum(ways[: min(positive, total - positive) + 1])
    return float(min(1.0, 2 * tail / 2 ** len(ranks)))


def chance_apart(these: Sequence[float], those: Sequence[float]) -> float:
    """How likely two series of one kind lie so far apart: Mann and Whitney's ranks, both sides, exactly."""
    ranks = _doubled_ranks([*these, *those])
    few, total = len(these), sum(ranks)
    # How many choices of so many ranks give each sum.
    ways: list[Counter[int]] = [Counter({0: 1})] + [Counter() for _ in range(few)]
    for rank in ranks:
        for size in range(few, 0, -1):
            ways[size].update({reached + rank: count for reached, count in ways[size - 1].items()})
    centre = total * few / len(ranks)
    far = abs(sum(ranks[:few]) - centre)
    return sum(count for reached, count in ways[few].items() if abs(reached - centre) >= far) / ways[few].total()


def _signed_ranks(differences: Sequence[float]) -> tuple[list[int], list[bool]]:
    return _doubled_ranks([abs(each) for each in differences]), [each > 0 for each in differences]


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, from 2; equal ones share the mean of theirs."""
    ranks = [0] * len(values)
    done = 0
    for _, group in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        same = list(group)
        for index in same:
            ranks[index] = 2 * done + len(same) + 1
        done += len(same)
    return ranks
