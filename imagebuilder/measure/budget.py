"""What a recipe promises, beside what was measured. Promised and not measured is not kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Budget


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a budget can be held against; None is not measured. ``memory_mib`` is the least memory with which the
    image was seen to answer: the minimum when that was looked for, else the promised memory when it answered with it.
    """

    image_bytes: int | None = None
    memory_mib: int | None = None
    startup_floors: float | None = None
    guest_used_bytes: int | None = None
    host_pss_bytes: int | None = None
    instructions: Summary | None = None


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One promise: the limit, what was measured (None: it was not), and whether the promise is kept."""

    key: str
    limit: int | float
    value: int | float | None
    holds: bool


PROBES: Mapping[str, Callable[[Measured], int | float | None]] = {
    "image_bytes": lambda measured: measured.image_bytes,
    "memory_mib": lambda measured: measured.memory_mib,
    "startup_floors": lambda measured: measured.startup_floors,
    "guest_used_bytes": lambda measured: measured.guest_used_bytes,
    "host_pss_bytes": lambda measured: measured.host_pss_bytes,
    "instructions": lambda measured: round(measured.instructions.median) if measured.instructions else None,
}


def rows(budget: Budget, measured: Measured) -> tuple[BudgetRow, ...]:
    """A row for each promise of a budget, in the order of ``PROBES``."""
    promised = {key: limit for key in PROBES if (limit := getattr(budget, key)) is not None}
    return tuple(_row(key, limit, PROBES[key](measured)) for key, limit in promised.items())


def _row(key: str, limit: int | float, value: int | float | None) -> BudgetRow:
    return BudgetRow(key, limit, value, holds=value is not None and value <= limit)
