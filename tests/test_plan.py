"""The plan: a step's id changes with what it depends on, and with nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from imagebuilder.plan import Ingredients, Plan, StepKind, plan

GIVEN = Ingredients(
    name="app",
    code="code-1",
    sources=[{"type": "debian", "packages": ["app"]}, {"type": "files", "sha256": "1"}],
    application={"command": "/usr/bin/app", "arguments": []},
    roots=["/usr/bin/app"],
    include=[],
    exclude=[],
    files=[["/etc/app.conf", {"sha256": "2"}]],
    init="init-1",
    kernel="kernel-1",
    root_format="auto",
    epoch_s=0,
    recipe={"name": "app", "root": {"format": "auto"}},
)


def ids(made: Plan) -> dict[StepKind, list[str]]:
    """The ids of a plan's steps by kind."""
    found: dict[StepKind, list[str]] = {}
    for step in made.steps():
        found.setdefault(step.kind, []).append(step.id)
    return found


def test_the_steps_in_order() -> None:
    kinds = [step.kind.value for step in plan(GIVEN).steps()]
    assert kinds == ["source", "source", "slim", "root", "pack", "bundle"]


def test_equal_ingredients_give_equal_ids() -> None:
    assert plan(GIVEN).bundle.id == plan(replace(GIVEN)).bundle.id


@pytest.mark.parametrize(
    ("change", "first_changed"),
    [
        ({"code": "code-2"}, StepKind.SOURCE),
        ({"sources": [{"type": "debian", "packages": ["other"]}, GIVEN.sources[1]]}, StepKind.SOURCE),
        ({"include": ["/usr/share/**"]}, StepKind.SLIM),
        ({"files": [["/etc/app.conf", {"sha256": "3"}]]}, StepKind.ROOT),
        ({"pages": {"files": []}}, StepKind.ROOT),
        ({"init": "init-2"}, StepKind.ROOT),
        ({"name": "other"}, StepKind.ROOT),  # it is the host name
        ({"epoch_s": 1}, StepKind.PACK),
        ({"recipe": {**GIVEN.recipe, "summary": "new"}}, StepKind.BUNDLE),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.value,
)
def test_a_change_rebuilds_from_its_step_on(change: dict[str, Any], first_changed: StepKind) -> None:
    before, after = ids(plan(GIVEN)), ids(plan(replace(GIVEN, **change)))
    order = list(StepKind)
    for kind in order:
        changed = before[kind] != after[kind]
        assert changed == (order.index(kind) >= order.index(first_changed)), kind


def test_a_plan_is_printable() -> None:
    steps = plan(GIVEN).describe()
    assert [step["kind"] for step in steps][-1] == "bundle"
    known: set[str] = set()
    for step in steps:
        assert set(step["needs"]) <= known
        known.add(step["id"])
