"""Whatever of the cache is damaged, a build of an edited recipe gives the right bytes, and says it in one line."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.events import Event, Warned
from imagebuilder.recipe.load import load
from imagebuilder.sources import archives
from imagebuilder.store import Store
from tests.app import lay_down
from tests.damage import DAMAGES

from .repository import Repository

pytestmark = pytest.mark.tools

RECIPE = """
name = "app"
version = "1"
summary = "a test"
application = {{ command = "/usr/bin/app" }}
ready = {{ console = "^hello" }}
source = [
  {{ type = "files", files = ["app"], target = "/usr/bin" }},
  {{ type = "build", inputs = ["app"], command = ["cp", "app", "copy"], outputs = {{ copy = "/usr/bin/copy" }} }},
  {{ type = "debian", release = "bookworm", packages = [{packages}], include = ["/**"] }},
]
[[files]]
path = "/etc/number"
text = "{number}"
"""


@dataclass(frozen=True)
class Warm:
    """A cache in which a recipe was built, and what its edits give, built with an empty one."""

    cache: Path
    edits: Mapping[Path, Mapping[str, bytes]]


@pytest.fixture(scope="module")
def warm(repositories: Repository, application: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One edit asks for another package, so that apt is asked; the other changes a file, so that choices are read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "ETC_APT", repositories.configure())
        patch.setenv("no_proxy", "127.0.0.1")
        folder = tmp_path_factory.mktemp("warm")
        first, edits = '"libgreet2"', {"package": '"libgreet2", "greeter"', "file": '"libgreet2"'}
        lay_down(folder / "first", application, RECIPE.format(packages=first, number=1))
        contents(folder / "first", folder / "cache", [])
        given = {}
        for name, packages in edits.items():
            lay_down(folder / name, application, RECIPE.format(packages=packages, number=2))
            given[folder / name] = contents(folder / name, folder / f"cold {name}", [])
        yield Warm(folder / "cache", given)


def contents(recipe: Path, cache: Path, told: list[Event]) -> dict[str, bytes]:
    """The bytes of the image, laid down again, with what was chosen taken from the cache."""
    out = recipe / "out"
    (recipe / "recipe.lock").unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    return {
        path.name: path.read_bytes()
        for path in build(load(str(recipe)), out, store=Store(cache), say=told.append).files()
    }


def entries(cache: Path, kind: str) -> list[Path]:
    """The files of a kind, below the cache; empty ones are locks."""
    found = sorted((cache / kind).rglob("*"))
    return [path.relative_to(cache) for path in found if path.is_file() and path.stat().st_size]


def mended(warm: Warm, cache: Path, damaged: Sequence[Path], damage: str) -> int:
    """Damage these entries and build the edits: the right bytes, and one line at most for each. Returns how many lines
    there were."""
    shutil.copytree(warm.cache, cache)
    for path in damaged:
        DAMAGES[damage](cache / path)
    lines = []
    for recipe, expected in warm.edits.items():
        told: list[Event] = []
        assert contents(recipe, cache, told) == expected, (recipe.name, damaged, damage)
        lines.append([event.text for event in told if isinstance(event, Warned)])
    assert max(map(len, lines)) <= 1, lines
    return sum(map(len, lines))


KINDS = ("blobs", "records", "choices", "apt")


def test_these_are_the_kinds(warm: Warm) -> None:
    assert {path.name for path in warm.cache.iterdir() if entries(warm.cache, path.name)} == set(KINDS)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_kind(warm: Warm, tmp_path: Path, kind: str, damage: str) -> None:
    lines = mended(warm, tmp_path / "cache", entries(warm.cache, kind), damage)
    assert lines == 0 if damage == "deleted" else lines >= 1, "what was never there is no damage"


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_of_a_kind(warm: Warm, tmp_path: Path, kind: str, damage: str) -> None:
    for number, path in enumerate(entries(warm.cache, kind)):
        mended(warm, tmp_path / str(number), [path], damage)


def test_a_flipped_bit_of_a_package_list_chooses_no_other_package(warm: Warm, tmp_path: Path) -> None:
    """apt verifies what it downloads, and not what it had kept."""
    (lists,) = [path for path in entries(warm.cache, "apt") if "Packages" in path.name]
    assert mended(warm, tmp_path / "cache", [lists], "flipped") == 1
