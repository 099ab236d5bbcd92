"""Templates that are no longer needed. Each change of an image leaves one of some 30 MB behind.

Who takes turns with memory, kernels or branches is to have each of them ready; so what counts is when a template was
used last, and not whether it is the newest.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.machine.template import FOLDER, Template, remove, templates
from imagebuilder.store import Store

MOST_KEPT = 8
UNUSED_DAYS = 7
DAY_S = 24 * 3600
SHORTEST_KEY = 8  # characters of a key that are taken for it


def abandoned(found: Iterable[Template]) -> Iterator[Template]:
    """Those unused for ``UNUSED_DAYS``, or since ``MOST_KEPT`` others of the same name and accelerator."""
    before: Counter[tuple[str, str]] = Counter()
    for each in sorted(found, key=lambda template: template.last_used_s, reverse=True):
        if before[each.name, each.accelerator] >= MOST_KEPT or each.last_used_s < time.time() - UNUSED_DAYS * DAY_S:
            yield each
        before[each.name, each.accelerator] += 1


def sweep(store: Store, made: Template) -> list[Template]:
    """Remove what is abandoned of the name and accelerator of the one that was made; one in use stays."""
    same = [each for each in templates(store) if (each.name, each.accelerator) == (made.name, made.accelerator)]
    return [each for each in abandoned(same) if remove(each.folder)]


def unreadable(store: Store) -> Iterator[Path]:
    """The folders of templates that another version of imagebuilder made, and of damaged ones."""
    for folder in sorted((store.root / FOLDER).glob("*/")):
        try:
            Template.read(folder)
        except InputError:
            yield folder


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a template that was to go: one in use stays."""

    name: str
    key: str
    removed: bool


def remove_named(
    store: Store, names: Sequence[str] = (), *, everything: bool = False, stale: bool = False
) -> list[Removal]:
    """Remove the templates of each name, or the one whose key begins so; ``stale``: only what is abandoned of them (of
    all without a name), and what cannot be read; ``everything``: all that there are. Raises InputError for a name of
    which there is none."""
    found = list(templates(store))
    for name in names:
        if not any(_means(name, each) for each in found):
            known = ", ".join(sorted({each.name for each in found})) or "none"
            raise InputError(f"there is no template of {name}; there are: {known}", hint="imagebuilder template list")
    chosen = () if everything else names
    meant = [each for each in found if not chosen or any(_means(name, each) for name in chosen)]
    doomed = {each.folder: each.name for each in (abandoned(meant) if stale else meant)}
    doomed |= {} if chosen else {folder: folder.name for folder in unreadable(store)}
    return [Removal(name, folder.name, remove(folder)) for folder, name in doomed.items()]


def _means(words: str, template: Template) -> bool:
    return words == template.name or (len(words) >= SHORTEST_KEY and template.circumstances.key.startswith(words))
