"""Templates that nobody needs any more. Each change of an image leaves one of some 30 MB behind.

Who takes turns with memory, kernels or branches is to have each of them ready; so what counts is when a template was
used last, and not whether it is the newest.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.machine.template import FOLDER, Template, remove, templates
from imagebuilder.store import Store

MOST_KEPT = 8
UNUSED_DAYS = 7
DAY_S = 24 * 3600


def abandoned(found: Iterable[Template]) -> Iterator[Template]:
    """Those that nobody used for ``UNUSED_DAYS``, or since ``MOST_KEPT`` others of the same name and accelerator."""
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
