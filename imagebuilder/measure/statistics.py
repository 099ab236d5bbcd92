"""Samples and what they come to. Nothing is left out: every sample stands in the report."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

DECIMALS = 3  # microseconds when the unit is ms: finer than what the host's scheduler lets one see
P95 = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """Some samples of one thing, in the order in which they were taken, and the figures that describe them."""

    median: float
    p95: float
    min: float
    max: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Summary":
        """Sum up samples; raises ValueError when there is none."""
        taken = tuple(round(float(sample), DECIMALS) for sample in samples)
        if not taken:
            raise ValueError("a summary needs at least one sample")
        return cls(round(median(taken), DECIMALS), nearest_rank(taken, P95), min(taken), max(taken), taken)

    def as_json(self) -> dict[str, Any]:
        """The summary as it stands in a report."""
        figures = {"median": self.median, "p95": self.p95, "min": self.min, "max": self.max}
        return {**figures, "samples": list(self.samples)}


def nearest_rank(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least ``share`` of all samples do not exceed: one that was seen, never between two.

    So the p95 of fewer than 20 samples is their maximum.
    """
    return sorted(samples)[max(1, math.ceil(share * len(samples))) - 1]
