"""The cache is kept small and whole, and whoever builds does not notice but by the time that it takes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import cache
from imagebuilder.build.steps import StepKind
from imagebuilder.build.walk import Build, build
from imagebuilder.cache import Kind, entries, held, limit_bytes, prune, size_of, verify
from imagebuilder.errors import InputError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.store import Store, key_of, sha256
from tests.damage import DAMAGES, flip, into_a_folder

LONG_AGO_S = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def aged(store: Store, digest: str, days: int) -> str:
    """The content, as if it was last used so many days ago."""
    os.utime(store.blob(digest), (time.time() - days * 86400,) * 2)
    return digest


def kept(store: Store, *digests: str) -> list[bool]:
    """Which of these contents are there."""
    return [(store.root / "blobs" / digest[:2] / digest).exists() for digest in digests]


def test_what_was_not_used_for_the_longest_time_goes_first(store: Store) -> None:
    digests = [aged(store, store.put(bytes([number]) * 100_000), number) for number in (1, 3, 2)]
    done = prune(store, 250_000)
    assert kept(store, *digests) == [True, False, True]
    assert (done.removed, done.busy, done.left_bytes) == (1, 0, sum(entry.size_bytes for entry in entries(store)))
    aged(store, digests[0], 9)
    store.blob(digests[0])  # is a use
    prune(store, 150_000)
    assert kept(store, *digests) == [True, False, False]
    assert prune(store, None).removed == 0


def test_what_was_just_used_stays_while_others_are_there(store: Store) -> None:
    new, old = store.put(b"new" * 9999), aged(store, store.put(b"old" * 9999), 1)
    other = Store(store.root)
    assert prune(store, 0).busy == 1
    assert kept(store, new, old) == [True, False]
    del other
    assert prune(store, 0).busy == 0
    assert kept(store, new) == [False]
    assert not list((store.root / "locks").iterdir())


def test_a_folder_in_use_stays(store: Store) -> None:
    for kind in (Kind.LISTS, Kind.TEMPLATE):
        folder = store.root / kind / "key"
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(b"x" * 9999)
        with held(folder, fcntl.LOCK_SH):
            assert prune(store, 0).busy == 1
        assert prune(store, 0).removed == 1
        assert not folder.exists() and not list((store.root / "scratch").iterdir())


def test_a_choice_stays(store: Store) -> None:
    key = key_of("packages")
    store.choose(key, {"packages": ["1"]})
    prune(store, 0)
    assert store.choice(key) == {"packages": ["1"]}
    store.keep(key_of("older"), {"packages": ["2"]})  # where older versions wrote it
    assert store.choice(key_of("older")) == {"packages": ["2"]}


def test_damage_is_found_and_removed(store: Store) -> None:
    good, bad, key = store.put(b"good"), store.put(b"bad"), key_of("step")
    store.keep(key, {"a": 1})
    store.blob(bad).write_bytes(b"b4d")
    (store.root / "records" / key[:2] / key).write_bytes(b"{")
    count, damaged = verify(store)
    assert (count, sorted(path.name for path in damaged)) == (3, sorted([bad, key]))
    assert verify(store) == (1, []) and kept(store, good) == [True]
    into_a_folder(store.blob(good))
    assert prune(store, 0).removed == 1 and not list(entries(store))


def test_a_damaged_template_is_found_and_removed(store: Store) -> None:
    folders = [store.root / "templates" / name for name in ("good", "older", "bad", "torn")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "memory").write_bytes(b"memory")
        known = {} if folder.name == "older" else {"memory": sha256(b"memory")}
        (folder / "template.json").write_text(json.dumps({"sha256": known}))
    flip(folders[2] / "memory")
    (folders[3] / "template.json").write_text("[")
    count, damaged = verify(store)
    assert count == 4 and sorted(damaged) == sorted(folders[2:])
    assert [folder.exists() for folder in folders] == [True, True, False, False]


@pytest.mark.parametrize(
    ("words", "size"), [("10G", 10**10), ("10gb", 10**10), ("5M", 5 * 10**6), ("7", 7), ("0", 0), ("none", None)]
)
def test_sizes(words: str, size: int | None) -> None:
    assert size_of(words, what="x") == size


@pytest.mark.parametrize("words", ["G", "-1", "1.5G", "ten", "10 G", "1" * 400, "²"])
def test_what_is_no_size_is_a_sentence(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, words)
    with pytest.raises(InputError, match=r"IMAGEBUILDER_CACHE_LIMIT.*is no size"):
        limit_bytes()


# With builds


def edited(number: int = 0) -> Recipe:
    """The recipe hello with a file more."""
    recipe = load("hello")
    document = recipe.model_dump(mode="json", exclude_none=True)
    document["files"] = [{"path": "/etc/number", "text": str(number)}]
    return Recipe.model_validate(document, context=recipe.folder)


def contents(recipe: Recipe, out: Path, store: Store, say: Callable[[Event], None] = silent) -> dict[str, bytes]:
    """The bytes of its image."""
    return {path.name: path.read_bytes() for path in build(recipe, out, store=store, say=say).files()}


@pytest.mark.tools
def test_a_build_keeps_the_cache_within_its_limit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = aged(store, store.put(os.urandom(9_000_000)), 1)
    monkeypatch.setenv(cache.LIMIT, "9M")
    contents(load("hello"), tmp_path / "out", store)
    assert kept(store, old) == [False]
    assert sum(entry.size_bytes for entry in entries(store)) > 5_000_000  # what was just made stays
    monkeypatch.setenv(cache.LIMIT, "9X")
    with pytest.raises(InputError, match="IMAGEBUILDER_CACHE_LIMIT"):
        contents(load("hello"), tmp_path / "out", store)


@pytest.mark.tools
def test_whatever_is_pruned_the_next_build_gives_the_same_bytes_and_says_nothing(store: Store, tmp_path: Path) -> None:
    expected, told = contents(edited(), tmp_path / "cold", store), list[Event]()
    for number, entry in enumerate(list(entries(store))):
        entry.remove(store)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert contents(edited(), tmp_path / "out", store, told.append) == expected, (number, entry)
    prune(store, 0)
    assert not list(entries(store))
    assert contents(edited(), tmp_path / "again", store, told.append) == expected
    assert not [event for event in told if isinstance(event, Warned)]


@pytest.mark.tools
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [Kind.CONTENT, Kind.RESULT])
def test_damage_is_mended_by_the_next_build(store: Store, tmp_path: Path, kind: Kind, damage: str) -> None:
    """Also of what only an edited recipe asks for."""
    expected = [contents(edited(number), tmp_path / f"cold{number}", store) for number in range(2)]
    build_of = [Build(edited(number), store, silent) for number in range(2)]
    for path in [entry.path for entry in entries(store) if entry.kind is kind and entry.size_bytes]:
        if not path.is_file() or not path.stat().st_size:
            continue
        DAMAGES[damage](path)
        for step in build_of[1].plan.steps():  # as if the recipe had been edited, from the first step after its sources
            if step.kind is not StepKind.SOURCE:
                store.forget(step.id)
        for number in (1, 0):
            told = list[Event]()
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            assert contents(edited(number), tmp_path / "out", store, told.append) == expected[number]
            assert len([event for event in told if isinstance(event, Warned)]) <= 1


PRUNER = """
import sys
from pathlib import Path
from imagebuilder.cache import prune
from imagebuilder.store import Store
store = Store(Path(sys.argv[1]))
print("here", flush=True)
while True:
    prune(store, 0, spare_s=0)
"""


@pytest.mark.tools
def test_builds_beside_one_who_prunes(store: Store, tmp_path: Path) -> None:
    expected = contents(edited(), tmp_path / "cold", store)
    argv = [sys.executable, "-c", PRUNER, str(store.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as pruner:
        assert pruner.stdout is not None and pruner.stdout.readline()
        try:
            for entry in list(entries(store)):
                if entry.path.exists():
                    os.utime(entry.path, (LONG_AGO_S, LONG_AGO_S))
            for number in range(5):
                assert contents(edited(), tmp_path / str(number), store) == expected
        finally:
            pruner.kill()
    assert contents(edited(), tmp_path / "after", store) == expected
    assert verify(store)[1] == []
