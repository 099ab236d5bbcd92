"""One figure beside its reference: slower, faster, the same within so many percent, or undecided.

A difference and the absence of one are both claims, and each is made only when an interval and ranks agree; where
neither can be made it is undecided. Rounds may be looked at several times before they end (``Rule.looks``): then the
chance of a false claim is shared among the looks, so that all of them together have no more than one alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Protocol

from imagebuilder.measure import bootstrap, detectable_effect
from imagebuilder.measure.statistics import Summary

CONFIDENCE = 0.99
CHANCE = 0.002  # of a difference where there is none: ten rounds that all agree come to 2/1024
SAME_CHANCE = 0.02  # of "the same" where the difference is as large as what counts as the same
EFFECT = 0.02  # a smaller difference is of no practical use
WITHIN = 0.10  # what counts as the same where none is given: the scatter of shared CI runners is of this size


class Verdict(StrEnum):
    """What a comparison comes to."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNDECIDED = "undecided"

    @property
    def differs(self) -> bool:
        """Whether it says that there is a difference."""
        return self in (Verdict.FASTER, Verdict.SLOWER)


@dataclass(frozen=True, slots=True)
class Rule:
    """When there is a verdict. Ratios up to 1 + ``within``, and down to its inverse, count as the same; ``looks`` is
    how often at most the rounds are judged before they end."""

    within: float = WITHIN
    looks: int = 1

    @property
    def chance(self) -> float:
        """How likely ranks may be without a difference, for one to be claimed."""
        return CHANCE / self.looks

    @property
    def same_chance(self) -> float:
        """How likely ranks may be with a difference of ``within``, for none to be claimed."""
        return SAME_CHANCE / self.looks

    def said(self, verdict: Verdict) -> str:
        """A verdict in words."""
        return f"the same within {100 * self.within:.4g} %" if verdict is Verdict.SAME else verdict.value


DEFAULT = Rule()


@dataclass(frozen=True, slots=True)
class Change:
    """One figure beside its reference: the ratio, its interval of 99 %, the difference of the medians in the figure's
    own unit (ms, multiples or instructions). ``seen_from`` is the ratio that nine of ten such runs would have shown."""

    what: str
    verdict: Verdict
    ratio: float
    low: float
    high: float
    difference: float
    seen_from: float | None = None


class _Ranks(Protocol):
    """Chances of the samples, were the true ratio ``bound``."""

    def far(self, bound: float) -> float:
        """To lie so far from it, on either side."""

    def below(self, bound: float) -> float:
        """To lie so far below it."""

    def above(self, bound: float) -> float:
        """To lie so far above it."""


@dataclass(frozen=True, slots=True)
class _Paired:
    """Rounds of one run. Ratios, not differences: a round in which the host was slow weighs no more than others."""

    ratios: Sequence[float]

    def far(self, bound: float) -> float:
        return bootstrap.chance_paired([each / bound - 1 for each in self.ratios])

    def below(self, bound: float) -> float:
        return bootstrap.chance_paired([each / bound - 1 for each in self.ratios], side=-1)

    def above(self, bound: float) -> float:
        return bootstrap.chance_paired([each / bound - 1 for each in self.ratios], side=1)


@dataclass(frozen=True, slots=True)
class _Apart:
    """Two series that were taken at different times."""

    these: Sequence[float]
    those: Sequence[float]

    def far(self, bound: float) -> float:
        return bootstrap.chance_apart([each / bound for each in self.these], self.those)

    def below(self, bound: float) -> float:
        return bootstrap.chance_apart([each / bound for each in self.these], self.those, side=-1)

    def above(self, bound: float) -> float:
        return bootstrap.chance_apart([each / bound for each in self.these], self.those, side=1)


def in_turn(what: str, this: Summary, that: Summary, *, least: float = 0.0, rule: Rule = DEFAULT) -> Change:
    """A figure beside one that was taken in the same rounds. A difference below ``least``, in the figure's own unit, is
    none."""
    if len(this.samples) != len(that.samples) or min(*this.samples, *that.samples) <= 0:
        return apart(what, this, that, least=least, rule=rule)
    ratios = [one / other for one, other in zip(this.samples, that.samples, strict=True)]
    low, high = bootstrap.of_median(ratios, confidence=CONFIDENCE)
    seen_from = detectable_effect.seen_from(ratios, chance=rule.chance)
    change = Change(what, Verdict.UNDECIDED, median(ratios), low, high, this.median - that.median, seen_from)
    return _judged(change, _Paired(ratios), _Least(least, that.median), rule)


def apart(what: str, this: Summary, that: Summary, *, least: float = 0.0, rule: Rule = DEFAULT) -> Change:
    """A figure beside one of another run."""
    difference = this.median - that.median
    if min(*this.samples, *that.samples) <= 0:
        return Change(what, Verdict.UNDECIDED, 1.0, 1.0, 1.0, round(difference, 3))
    low, high = bootstrap.of_ratio(this.samples, that.samples, confidence=CONFIDENCE)
    change = Change(what, Verdict.UNDECIDED, this.median / that.median, low, high, difference)
    return _judged(change, _Apart(this.samples, that.samples), _Least(least, that.median), rule)


@dataclass(frozen=True, slots=True)
class _Least:
    """The difference that is none, and what it is of."""

    difference: float
    whole: float

    def bound(self, within: float) -> float:
        """Up to which ratio a figure is the same: one of few ms also within the difference that is none."""
        return 1 + max(within, self.difference / self.whole)

    def matters(self, change: Change) -> bool:
        """Whether a change is of practical use."""
        large = change.ratio >= 1 + EFFECT or change.ratio <= 1 / (1 + EFFECT)
        return large and abs(change.difference) >= self.difference


def _judged(change: Change, ranks: _Ranks, least: _Least, rule: Rule) -> Change:
    bound = least.bound(rule.within)
    verdict = Verdict.UNDECIDED
    if least.matters(change) and not change.low <= 1 <= change.high and ranks.far(1) <= rule.chance:
        verdict = direction(change.ratio)
    elif 1 / bound < change.low and change.high < bound and _inside(ranks, bound) <= rule.same_chance:
        verdict = Verdict.SAME
    ratio, low, high = (round(each, 4) for each in (change.ratio, change.low, change.high))
    return replace(change, verdict=verdict, ratio=ratio, low=low, high=high, difference=round(change.difference, 3))


def _inside(ranks: _Ranks, bound: float) -> float:
    """How likely the ranks are with a true ratio at or beyond one of the two bounds."""
    return max(ranks.below(bound), ranks.above(1 / bound))


def direction(ratio: float) -> Verdict:
    """What a ratio that differs means."""
    return Verdict.SLOWER if ratio > 1 else Verdict.FASTER
