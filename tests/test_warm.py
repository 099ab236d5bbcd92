"""A build gives the same bytes whichever of its steps the store has: none, all, or any of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import paths
from imagebuilder.builder import Build, build
from imagebuilder.bundle import Bundle
from imagebuilder.events import silent
from imagebuilder.plan import Step
from imagebuilder.pytest_plugin.workshop import Anew
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.store import Store

NETWORK = pytest.mark.network
RECIPES = (
    "hello",
    pytest.param("nginx", marks=NETWORK),
    pytest.param("python", marks=NETWORK),
    pytest.param("redis", marks=[NETWORK, pytest.mark.slow]),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("cache"))


def contents(bundle: Bundle) -> dict[str, str]:
    """The digest of each of a bundle's files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundle.files()}


def steps_of(recipe: Recipe, store: Store) -> list[Step]:
    """The steps to its image, the last one last."""
    return list(Build(recipe, store, silent).plan.steps())


def half_warm(steps: list[Step]) -> Iterator[list[Step]]:
    """What may be missing: one and the last (which asks for it), or one and all that follow."""
    for number, step in enumerate(steps):
        yield [step, steps[-1]]
        yield steps[number:]


@pytest.mark.parametrize("name", RECIPES)
def test_cold_warm_and_half_warm_are_the_same_bytes(name: str, store: Store, tmp_path: Path) -> None:
    recipe = load(name)
    cold = contents(build(recipe, tmp_path / "cold", store=store, say=silent))
    steps = steps_of(recipe, store)
    results = {step.id: store.record(step.id) for step in steps}
    assert contents(build(recipe, tmp_path / "warm", store=store, say=silent)) == cold
    for number, dropped in enumerate(half_warm(steps)):
        for step in dropped:
            store.forget(step.id)
        missing = [step.title for step in dropped]
        assert contents(build(recipe, tmp_path / str(number), store=store, say=silent)) == cold, missing
        made_again = Build(recipe, store, silent)
        assert all(made_again.result(step) == results[step.id] for step in steps), missing


def test_what_a_step_just_gave_is_what_the_store_will_give(store: Store, tmp_path: Path) -> None:
    recipe = load("hello")
    steps = steps_of(recipe, store)
    ours = Anew(store.root, {step.id for step in steps})
    for keeper in (Store(tmp_path / "cache"), ours):
        fresh = Build(recipe, keeper, silent)
        for step in steps:
            assert repr(fresh.result(step)) == repr(keeper.record(step.id))


def test_an_image_of_other_spelling_is_laid_down_anew(store: Store, tmp_path: Path) -> None:
    """As an older version, or an editor, left it."""
    bundle = build(load("hello"), tmp_path, store=store, say=silent)
    before = contents(bundle)
    for name, text in (("image.json", bundle.image.model_dump_json(by_alias=True)), ("cmdline", "other\n")):
        (bundle.folder / name).write_text(text)
        assert contents(build(load("hello"), tmp_path, store=store, say=silent)) == before


def turned(value: Any) -> Any:
    """The same tables with their keys in the opposite order."""
    return {key: turned(each) for key, each in reversed(value.items())} if isinstance(value, dict) else value


def test_equal_keys_of_steps_mean_equal_bytes(tmp_path: Path) -> None:
    folder = paths.shipped("recipes") / "hello"
    document = {
        "name": "hello", "version": "1", "summary": "x", "ready": {"exit": 0},
        "source": {
            "type": "build", "inputs": ["hello.c"],
            "command": ["sh", "-euc", "mkdir d; cc -static -o d/a hello.c; cp d/a b; echo >> b"],
            "outputs": {"d": "/usr/bin", "b": "/usr/bin/a"},  # both give /usr/bin/a
        },
        "application": {
            "command": "/usr/bin/a", "environment": {"B": "1", "A": "2"}, "limits": {"nofile": 9, "core": 0},
        },
    }  # fmt: skip
    made: dict[str, set[str]] = {}
    for number, given in enumerate((document, turned(document))):
        recipe = Recipe.model_validate(given, context=folder)
        cache = Store(tmp_path / f"cache{number}")
        for step in steps_of(recipe, cache):
            made.setdefault(step.id, set()).add(repr(Build(recipe, cache, silent).result(step)))
    assert all(len(results) == 1 for results in made.values())
