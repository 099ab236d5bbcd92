"""Promises beside measurements."""

from typing import get_args

import pytest

from imagebuilder.measure.budget import PROBES, BudgetRow, Measured, rows
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Budget

ALL = Measured(
    image_bytes=100,
    memory_mib=20,
    startup_floors=11,
    guest_used_bytes=7,
    host_pss_bytes=8,
    instructions=Summary.of([900, 1000, 1300]),
)


def test_every_promise_of_a_recipe_has_its_probe() -> None:
    assert set(PROBES) == set(Budget.model_fields)
    assert all(type(None) in get_args(field.annotation) for field in Budget.model_fields.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_bytes", 100),
        ("memory_mib", 20),
        ("startup_floors", 11),
        ("guest_used_bytes", 7),
        ("host_pss_bytes", 8),
        ("instructions", 1000),
    ],
)
def test_a_promise_is_kept_up_to_its_limit(key: str, value: int) -> None:
    def row(limit: int) -> tuple[BudgetRow, ...]:
        return rows(Budget.model_validate({key: limit}), ALL)

    assert row(value) == (BudgetRow(key, value, value, holds=True),)
    assert row(value - 1) == (BudgetRow(key, value - 1, value, holds=False),)


@pytest.mark.parametrize("key", PROBES)
def test_promised_and_not_measured_is_not_kept(key: str) -> None:
    assert rows(Budget.model_validate({key: 10**6}), Measured()) == (BudgetRow(key, 10**6, None, holds=False),)


def test_what_is_not_promised_has_no_row() -> None:
    assert rows(Budget(), ALL) == ()
