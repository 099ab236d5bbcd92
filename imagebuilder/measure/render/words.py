"""Figures in words, the same in every kind of document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.change import Change
from imagebuilder.measure.report import ImageReport, Startup
from imagebuilder.measure.statistics import Summary

NOT_MEASURED = "not measured"
MOST_DATES = 12  # beside each other on a narrow screen
TWO_DIGITS = 10  # from here on a second decimal says nothing


@dataclass(frozen=True, slots=True)
class Scale:
    """How a figure is written. ``scales`` are what it is counted in, the largest first, each with its decimals."""

    scales: tuple[tuple[str, float, int], ...]

    def __call__(self, value: float | None) -> str:
        """The figure as it is read; None was not measured."""
        if value is None:
            return NOT_MEASURED
        name, one, decimals = self._scale(value)
        amount = value / one
        return f"{amount:,.{decimals if amount < TWO_DIGITS else min(decimals, 1)}f} {name}".rstrip()

    def at(self, value: float) -> str:
        """A place on an axis: as many decimals as it needs."""
        name, one, _ = self._scale(value)
        return f"{value / one:,.10g} {name}".rstrip() if value else "0"

    def _scale(self, value: float) -> tuple[str, float, int]:
        return next((scale for scale in self.scales if value >= scale[1]), self.scales[-1])


ms = Scale((("ms", 1, 1),))
size = Scale((("MB", 1e6, 2), ("kB", 1e3, 1), ("B", 1, 0)))
mib = Scale((("MiB", 1, 0),))
times = Scale((("×", 1, 1),))
count = Scale((("", 1, 0),))

# The end of a name -> how its value is written.
UNITS: Mapping[str, Scale] = {
    "_bytes": size,
    "_ms": ms,
    "_mib": mib,
    "_floors": times,
    "instructions": count,
}


def value(key: str, amount: float | None) -> str:
    """A figure whose name has its unit, as a budget's have."""
    said = next((say for end, say in UNITS.items() if key.endswith(end)), None)
    if said is not None:
        return said(amount)
    return NOT_MEASURED if amount is None else f"{amount:,}"


def cost(startup: Startup) -> str | None:
    """What measuring costs, as a sentence; None where it was not asked for."""
    if startup.measuring is None:
        return None
    said = f"Measured, it takes {_ratio(startup.measuring)} times as long as by its bare command line"
    more = f", and {_ratio(startup.measuring_cpu)} times the processor time" if startup.measuring_cpu else ""
    return f"{said}{more}."


def _ratio(change: Change) -> str:
    return f"{change.ratio:.3f} ({change.low:.3f} to {change.high:.3f})"


def moment(made: datetime | None) -> str | None:
    """When a document was made, for people everywhere; None when it does not say."""
    return None if made is None else f"{made.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def days(made: Sequence[datetime | None]) -> tuple[str, ...]:
    """What stands under the points of a line in time: their dates, or their numbers where a date is not known or there
    is no room for so many."""
    if len(made) > MOST_DATES or None in made:
        return tuple(str(number) for number in range(1, len(made) + 1))
    return tuple(f"{each.astimezone(UTC):%m-%d}" for each in made if each)


def mark(holds: bool | None) -> str:
    """✓ and ✗, and – for what was not reached."""
    return {True: "✓", False: "✗", None: "–"}[holds]


def promise(row: BudgetRow) -> str:
    """A row of a budget that is not kept, in words."""
    limit = value(row.key, row.limit)
    if row.value is None:
        return f"{row.key} was not measured, and at most {limit} is promised"
    return f"{row.key} is {value(row.key, row.value)}, and at most {limit} is promised"


def shortfalls(image: ImageReport) -> tuple[str, ...]:
    """Each check and promise of an image that is not kept, in words."""
    checks = [f"{check.name}: {check.message or 'failed'}" for check in image.checks if check.holds is False]
    unreached = [f"{check.name}: not reached" for check in image.checks if check.holds is None]
    return (*checks, *unreached, *(promise(row) for row in image.budget if not row.holds))


def floors(startup: Startup | None) -> float | None:
    """The time to ready in multiples of the floor, as tables and budgets have it too."""
    return None if startup is None else startup.times_floor


def shape(image: ImageReport) -> str:
    """The machine and kernel of an image."""
    machine = image.machine
    if machine is None:
        return "no machine"
    made = f"kernel {image.kernel or 'unknown'}, root {image.root or 'unknown'}"
    return f"{made}, {machine.words}"


def interval(summary: Summary) -> tuple[float, float, str]:
    """The interval to draw around a median, and what it is called."""
    if summary.ci95 is not None:
        return *summary.ci95, "where the median lies with 95 % confidence"
    return summary.min, summary.max, "from the smallest to the largest"
