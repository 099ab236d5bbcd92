"""Keep what programs need besides their libraries, by the rows of ``languages``, in a walk that has kept the programs.

The recipe's own words go before: of a need of which ``include`` names files, those alone are kept; ``exclude`` takes
from all; and a row that is switched off does nothing.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from imagebuilder.closure.languages import ROWS, Need
from imagebuilder.closure.selection import matching, selected
from imagebuilder.closure.walk import Walk
from imagebuilder.recipe.values import Runtime

GROUP = re.compile(r"<(\w+)>")
LEFT = "left out: of what {} needs ({}), the recipe includes what it wants"


def keep_needs(
    walk: Walk,
    *,
    included: Collection[str],
    packages: Sequence[str],
    off: Collection[Runtime] = (),
    asked_only: bool = False,
) -> Mapping[str, str]:
    """Keep what all that is kept needs; ``included`` is what the recipe includes, ``packages`` what it names. Returns
    the paths that are left out because the recipe chose others of that need, with the reason. ``asked_only``: no needs
    but those that the environment or the recipe's packages name. Raises ClosureError."""
    left: dict[str, str] = {}
    done: set[tuple[Runtime, Need]] = set()
    while wanted := [
        each for each in _wanted(walk, packages, off) if each not in done and (not asked_only or each[1].is_asked)
    ]:
        for runtime, need in wanted:
            done.add((runtime, need))
            paths = _paths(need, walk)
            chosen = paths.intersection(included)
            if chosen:
                left |= dict.fromkeys(paths - chosen, LEFT.format(runtime.value, need.name))
                continue
            for path in sorted(paths):
                walk.need(path, f"{runtime.value}, {need.name}: {need.why}")
    _link(walk, off)
    return {path: why for path, why in left.items() if path not in walk.kept}


def _wanted(walk: Walk, packages: Sequence[str], off: Collection[Runtime]) -> Iterator[tuple[Runtime, Need]]:
    """The needs that count for what is kept so far, with the globs as they are for it."""
    for runtime, row in ROWS.items():
        needs = [need for need in row.needs if need.counts(walk.environment, packages) and runtime not in off]
        matches = [match for match in map(row.programs.fullmatch, walk.kept) if match] if needs else []
        for values in {tuple(match.groupdict("").items()) for match in matches}:
            for need in needs:
                yield runtime, replace(need, globs=_filled(need.globs, values), but=_filled(need.but, values))


def _filled(globs: Iterable[str], values: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    given = dict(values)
    return tuple(GROUP.sub(lambda match: given[match[1]], glob) for glob in globs)


def _paths(need: Need, walk: Walk) -> set[str]:
    paths = {path for glob in need.globs for path in selected(glob, walk.tree)}
    return paths.difference(path for glob in need.but for path in matching(glob, walk.tree))


def _link(walk: Walk, off: Collection[Runtime]) -> None:
    """Add the links that kept programs need where nothing is kept."""
    for runtime, row in ROWS.items():
        making = [need.links for need in row.needs if need.links and runtime not in off]
        for program in [path for path in walk.kept if making and row.programs.fullmatch(path)]:
            for path, link in (each for links in making for each in links(walk.tree, program).items()):
                if path not in walk.kept and path not in walk.dropped:
                    walk.links[path] = link
