"""Debian's alternatives: names under which several packages offer the same, of which one is taken.

``/usr/bin/awk`` → ``/etc/alternatives/awk`` → ``/usr/bin/mawk``: as ``update-alternatives(1)`` in its automatic mode,
the highest priority counts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imagebuilder.tree import Kind, Node, Tree, symlink

FOLDER = "/etc/alternatives"
SLAVES = ("--slave", "--follower")


@dataclass(frozen=True, slots=True)
class Alternative:
    """One offer: the link, its name under ``/etc/alternatives``, the file; ``leader`` names the offer it follows."""

    link: str
    name: str
    target: str
    priority: int
    package: str
    leader: str

    def describe(self) -> dict[str, Any]:
        """The offer as JSON."""
        return asdict(self)


def offers(words: Sequence[str], package: str) -> list[Alternative]:
    """What the words behind ``update-alternatives`` register; nothing where they do something else."""
    if "--install" not in words:
        return []
    first = words.index("--install") + 1
    link, name, target, priority, *rest = [*words[first : first + 4], *[""] * 4][:4] + list(words[first + 4 :])
    if not re.fullmatch("-?[0-9]{1,9}", priority):
        return []
    rows = [(link, name, target)]
    while rest[:1] and rest[0] in SLAVES and len(rest) >= 4:
        rows.append((rest[1], rest[2], rest[3]))
        rest = rest[4:]
    found = [Alternative(*row, int(priority), package, name) for row in rows]
    return [offer for offer in found if _is_sound(offer)]


def chosen(tree: Tree, offered: Iterable[Alternative]) -> list[Alternative]:
    """The offers that are taken: of each name the one of the highest priority that is there, and what follows it."""
    there = [offer for offer in offered if tree.resolve(offer.target) is not None]
    leaders: dict[str, Alternative] = {}
    for offer in there:
        best = leaders.get(offer.leader)
        if offer.name == offer.leader and (best is None or offer.priority > best.priority):
            leaders[offer.name] = offer
    taken = [offer for offer in there if _follows(offer, leaders.get(offer.leader))]
    return sorted((offer for offer in taken if _is_free(tree, offer.link)), key=lambda offer: offer.name)


def links(taken: Iterable[Alternative]) -> Iterator[tuple[str, Node, str]]:
    """Path, link and package of each."""
    for offer in taken:
        yield offer.link, symlink(f"{FOLDER}/{offer.name}"), offer.package
        yield f"{FOLDER}/{offer.name}", symlink(offer.target), offer.package


def _follows(offer: Alternative, leader: Alternative | None) -> bool:
    return leader is not None and (offer.package, offer.priority) == (leader.package, leader.priority)


def _is_free(tree: Mapping[str, Node], link: str) -> bool:
    """A file of a package is not replaced."""
    return link not in tree or tree[link].kind is Kind.SYMLINK


def _is_sound(offer: Alternative) -> bool:
    paths = (offer.link, offer.target)
    parts = [part for path in paths for part in path.split("/")[1:]]
    named = bool(offer.name) and "/" not in offer.name and offer.name not in (".", "..")
    whole = all(text.isprintable() for text in (*paths, offer.name))
    return (
        named
        and whole
        and all(path.startswith("/") for path in paths)
        and all(part not in ("", ".", "..") for part in parts)
    )
