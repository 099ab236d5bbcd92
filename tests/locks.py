"""``make locks``: the lockfiles of the shipped recipes, where the archives no longer have what they name.

Tests build these recipes from empty caches. Debian drops a package when it has a newer one: that is no fault of ours,
and a test run on another day is to say what it tests. So what is gone is chosen again, in the checkout, and told.
"""

import tempfile
from pathlib import Path

from imagebuilder.build.locking import locked
from imagebuilder.build.walk import Build
from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import silent
from imagebuilder.paths import shipped
from imagebuilder.recipe.load import load
from imagebuilder.sources import apt
from imagebuilder.sources.debian import DebianSource
from imagebuilder.store import Store


def main(folder: Path) -> None:
    """Look at each recipe below the folder."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) / "cache")
        for path in sorted(folder.glob("*/recipe.lock")):
            try:
                _mend(path, store)
            except ImagebuilderError as error:  # tests that need the archive say so themselves
                print(f"{path}: not held against the archive: {error}")


def _mend(path: Path, store: Store) -> None:
    if gone := _gone(path.parent, store):
        changes = locked(load(path.parent), store, silent, update=True).changes
        words = ", ".join(change.text for change in changes)
        print(f"{path}: the archive no longer has {', '.join(gone)}; chosen again, commit it: {words}")


def _gone(folder: Path, store: Store) -> list[str]:
    """The packages that the lockfile has and the archives have not, each as ``name version``."""
    found: list[str] = []
    for each in Build(load(folder), store, silent).planner.locked:
        if isinstance(each.source, DebianSource) and each.choice is not None:
            missing = apt.missing(each.source.release, each.choice.packages, store=store, say=silent)
            found += [f"{package.name} {package.version}" for package in missing]
    return found


if __name__ == "__main__":
    main(shipped("recipes"))
