"""Samples and what they come to. Nothing is left out: every sample stands in the report."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from imagebuilder.measure.bootstrap import of_median

DECIMALS = 3  # microseconds when the unit is ms: finer than what the host's scheduler lets one see
P95 = 0.95
LEAST_SAMPLES = 3  # fewer say nothing about how they scatter
WIDEST = 0.2  # of the median: two images that differ by a tenth could not be distinguished


@dataclass(frozen=True, slots=True)
class Summary:
    """Some samples of one thing, in the order in which they were taken, and the figures that describe them.

    ``ci95`` is the interval in which the median lies with 95 % confidence, where it was asked for.
    """

    median: float
    p95: float
    min: float
    max: float
    samples: tuple[float, ...]
    ci95: tuple[float, float] | None = None

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Summary":
        """Sum up samples; raises ValueError when there is none."""
        taken = tuple(round(float(sample), DECIMALS) for sample in samples)
        if not taken:
            raise ValueError("a summary needs at least one sample")
        return cls(round(median(taken), DECIMALS), nearest_rank(taken, P95), min(taken), max(taken), taken)

    def as_json(self) -> dict[str, Any]:
        """The summary as it stands in a report."""
        figures: dict[str, Any] = {"median": self.median, "p95": self.p95, "min": self.min, "max": self.max}
        interval = {} if self.ci95 is None else {"ci95": list(self.ci95)}
        return {**figures, **interval, "samples": list(self.samples)}

    def with_interval(self) -> "Summary":
        """The same, with its interval; of a single sample there is none."""
        if len(self.samples) < LEAST_SAMPLES:
            return self
        low, high = of_median(self.samples)
        return replace(self, ci95=(round(low, DECIMALS), round(high, DECIMALS)))

    @property
    def inconclusive(self) -> bool:
        """Whether the interval is too wide to conclude anything: wider than ``WIDEST`` of the median."""
        return self.ci95 is None or self.ci95[1] - self.ci95[0] > WIDEST * self.median


def nearest_rank(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least ``share`` of all samples do not exceed: one that was seen, never between two.

    So the p95 of fewer than 20 samples is their maximum.
    """
    return sorted(samples)[max(1, math.ceil(share * len(samples))) - 1]
