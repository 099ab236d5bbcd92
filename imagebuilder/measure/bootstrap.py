"""Intervals by resampling (the percentile bootstrap), with a generator of its own seed: the same samples give the same
interval. Ranks decide what resampling alone would say too boldly from ten samples.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from math import comb
from statistics import median

RESAMPLES = 1000
SEED = 20_240_229
CONFIDENCE = 0.95

Interval = tuple[float, float]


def of_median(samples: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The interval in which the median lies."""
    return _interval([median(taken) for (taken,) in _resampled(samples)], confidence)


def of_paired_ratio(these: Sequence[float], those: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the median of the ratios within each round: load that both felt cancels out."""
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


def chance_paired(differences: Sequence[float], *, side: int = 0) -> float:
    """How likely differences so one-sided are when there is none: Wilcoxon's signed ranks, exactly. With ``side`` -1
    how likely they lie so far below 0, with 1 so far above, with 0 either.

    Differences of 0 are left out. Ten differences of one sign give 2/1024.
    """
    ranks, signs = _signed_ranks([each for each in differences if each])
    total = sum(ranks)
    # How many of the 2**n choices of signs give each sum of positive ranks (doubled, so that ties are whole numbers):
    # the digits of one whole number, as below.
    digit_bytes, ways = len(ranks) // 8 + 1, 1
    for rank in ranks:
        ways += ways << (8 * digit_bytes * rank)
    positive = sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
    few = {-1: positive, 1: total - positive, 0: min(positive, total - positive)}[side]
    tail = sum(islice(_digits(ways, digit_bytes), few + 1))
    return float(min(1.0, (1 if side else 2) * tail / 2 ** len(ranks)))


def chance_apart(these: Sequence[float], those: Sequence[float], *, side: int = 0) -> float:
    """How likely two series of one kind lie so far apart: Mann and Whitney's ranks, exactly. With ``side`` -1 how
    likely ``these`` lie so far below, with 1 so far above, with 0 either.

    The ways to choose so many ranks are counted by their sum, in one whole number for each count of ranks: the ways
    of a sum are the digits at its place, of a base that no number of ways reaches.
    """
    ranks = _doubled_ranks([*these, *those])
    few, total = len(these), sum(ranks)
    digit_bytes = comb(len(ranks), few).bit_length() // 8 + 1
    ways = [1] + [0] * few
    for count, rank in enumerate(ranks, 1):
        for size in range(min(count, few), 0, -1):
            ways[size] += ways[size - 1] << (8 * digit_bytes * rank)
    centre, reached = total * few / len(ranks), sum(ranks[:few])
    far = abs(reached - centre)
    counts = enumerate(_digits(ways[few], digit_bytes))
    as_far: Callable[[int], bool] = {
        -1: lambda at: at <= reached,
        1: lambda at: at >= reached,
        0: lambda at: abs(at - centre) >= far,
    }[side]
    return sum(count for at, count in counts if count and as_far(at)) / comb(len(ranks), few)


def _digits(number: int, digit_bytes: int) -> Iterator[int]:
    written = number.to_bytes(number.bit_length() // 8 + 1, "little")
    for at in range(0, len(written), digit_bytes):
        yield int.from_bytes(written[at : at + digit_bytes], "little")


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
