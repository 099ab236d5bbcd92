"""Slims: of all layers, what the programs need, and what is kept besides."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imagebuilder.closure import arguments, busybox, scripts
from imagebuilder.closure.groups import Group, groups
from imagebuilder.closure.needs import keep_needs
from imagebuilder.closure.selection import matching, other_glob, selected
from imagebuilder.closure.walk import Walk, nobody_knows
from imagebuilder.errors import ClosureError
from imagebuilder.recipe.values import Runtime
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Node, Tree, is_below
from imagebuilder.words import some

SYSTEM = "imagebuilder"  # the origin of what every image has
BUSYBOX = ("/usr/bin/busybox", "/bin/busybox")


@dataclass(frozen=True)
class Slimmed:
    """The tree of what is needed of the layers, what was kept and dropped, and sentences that the user should read."""

    tree: Tree
    groups: tuple[Group, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Around:
    """What the image will have besides its sources: ``below`` what every image has, ``above`` the recipe's [[files]];
    ``environment`` and ``arguments``, the application's; ``packages``, those that the recipe names; and
    ``package_with`` knows in which package a missing library may be. ``traced``: the files that the application was
    seen to open, each with the reason to keep it; None: it was not looked at."""

    below: Tree = field(default_factory=Tree)
    above: Mapping[str, Node] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    package_with: Callable[[str], str | None] = nobody_knows
    arguments: Sequence[str] = ()
    packages: Sequence[str] = ()
    traced: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Merged:
    """Layers as one tree, the later over the earlier, with the origin of each path and those that are kept anyway."""

    tree: Tree
    origins: Mapping[str, str]
    whole: frozenset[str]
    lenient: frozenset[str] = frozenset()


def slim(
    layers: Sequence[Layer],
    *,
    roots: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    off: Collection[Runtime] = (),
    around: Around | None = None,
) -> Slimmed:
    """What the programs ``roots`` (absolute paths) need of the layers, and what the globs ``include`` name.

    ``exclude`` takes from what is included and from layers that are kept whole; of what runtimes need by themselves,
    what those that are ``off`` need is kept only where it is included. Of an application that was traced, the files
    that it opened are kept instead, with all links that lead to them. What is ``around`` the layers is seen,
    and needs things of them, but is not in the result. Raises ClosureError for a program that is not there or cannot
    run, for a library that is missing or excluded, and for a glob that matches nothing.
    """
    around = around or Around()
    merged = linked(merge([Layer(around.below, dict.fromkeys(around.below, SYSTEM), slim=True), *layers]))
    files = dict.fromkeys(around.above, "[[files]]")
    tree, added = overlay(merged.tree, around.above, below=merged.origins, above=files)
    dropped = {path: why for path, why in _dropped(exclude, tree).items() if path not in added}
    walk = Walk(tree, dropped, around.environment, around.package_with)
    for root in roots:
        walk.command(root)
    whole = sorted(path for path in merged.whole if path in tree and path not in dropped and path not in added)
    for path in sorted(whole, key=merged.lenient.__contains__):
        walk.whole(path, "kept whole", lenient=path in merged.lenient)
    for path in around.above:
        walk.whole(path, "the recipe adds it")
    for path in arguments.files(around.arguments, tree):
        walk.include(path, "an argument of the command")
    for path in (*roots, *around.above, *whole):
        walk.calls(path, lenient=path in merged.lenient)
    included = {glob: _included(glob, tree) for glob in include}
    for glob, found in included.items():
        for path in found:
            walk.include(path, glob)
        walk.on_the_way(glob)
    _keep_traced(walk, around.traced or {})
    named = frozenset(path for found in included.values() for path in found)
    left = keep_needs(walk, included=named, packages=around.packages, off=off, asked_only=around.traced is not None)
    walk.check()
    ours = {path for path, node in merged.tree.items() if merged.origins.get(path) != SYSTEM and tree.get(path) == node}
    kept = {path: why for path, why in walk.kept.items() if path in ours}
    replaced = {path: "replaced by [[files]]" for path, node in merged.tree.items() if tree.get(path) != node}
    sources = merged.tree.filter(lambda path, _: merged.origins.get(path) != SYSTEM)
    rest = f"not needed by {', '.join(roots)}" if roots else "not needed"
    return Slimmed(
        tree.filter(lambda path, _: path in kept).merge(Tree(walk.links)),
        groups(sources, merged.origins, kept, {**left, **dropped, **replaced}, rest),
        (
            *_not_there(around.traced or {}, tree),
            *scripts.cannot_run(walk.idle),
            *_lacking(walk.tolerated),
            *arguments.folders_left_out(around.arguments, tree, merged.origins, kept),
        ),
    )


def _keep_traced(walk: Walk, traced: Mapping[str, str]) -> None:
    """Keep what was opened, and the links that lead to it or to a folder above it: which of them was followed is not
    known, since the kernel tells of the file behind them."""
    there = {path: why for path, why in traced.items() if path in walk.tree}
    for path, why in there.items():
        walk.need(path, why)
    led_to = {*there, *(folder for path in there for folder in _above(path))}
    for link, node in walk.tree.items():
        if node.kind is Kind.SYMLINK and (real := walk.tree.resolve(link)) in led_to:
            walk.need(link, f"leads to {real}")


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _not_there(traced: Mapping[str, str], tree: Tree) -> tuple[str, ...]:
    """The warning for a list of files that is of other sources."""
    gone = [path for path in traced if path not in tree]
    if not gone:
        return ()
    are = "is" if len(gone) == 1 else "are"
    return (f"root.keep: of what the application opened, {some(gone)} {are} not in its sources: trace it again",)


def _lacking(tolerated: Sequence[str]) -> tuple[str, ...]:
    """The warning for files that are kept although they cannot run."""
    if not tolerated:
        return ()
    more = f"; so it is with {len(tolerated) - 1:,} more" if len(tolerated) > 1 else ""
    return (f"{tolerated[0]}{more}",)


def needed(tree: Tree, command: str) -> tuple[str, ...]:
    """The files that a program is made of in an image: itself, its interpreter, its libraries; in the order in which
    they are loaded; of a script then what it calls by its path. Raises ClosureError."""
    walk = Walk(tree, {})
    walk.command(command)
    walk.calls(command)
    return tuple(path for path in walk.kept if path in tree and tree[path].kind is Kind.FILE)


def merge(layers: Sequence[Layer]) -> Merged:
    """Layers as one tree; through the links that stand in it, as on a running system."""
    tree = Tree()
    origins: dict[str, str] = {}
    whole: set[str] = set()
    lenient: set[str] = set()
    for layer in layers:
        rest = _without(tree, layer.removed)
        tree, placed = overlay(rest, layer.tree, below=origins, above=layer.origins, is_source=True)
        origins = {where: origin for where, origin in origins.items() if where in tree}
        whole.intersection_update(tree)
        origins = {where: origin for where, origin in origins.items() if where not in placed}
        origins |= {where: layer.origins[path] for where, path in placed.items() if path in layer.origins}
        whole = whole.difference(placed) if layer.slim else whole.union(placed)
        lenient = lenient.union(placed) if layer.lenient else lenient.difference(placed)
    return Merged(tree, origins, frozenset(whole), frozenset(lenient))


def _without(tree: Tree, removed: Sequence[str]) -> Tree:
    """The tree without these paths, and what stands below them."""
    gone = frozenset(removed)
    return tree.filter(lambda path, _: not (path in gone or is_below(path, gone))) if gone else tree


def linked(merged: Merged) -> Merged:
    """With the links by which BusyBox's programs are called, where the tree has no such program."""
    links = busybox.lacking(merged.tree)
    origins = dict.fromkeys(
        links, next((merged.origins[path] for path in BUSYBOX if path in merged.origins), "busybox")
    )
    return (
        Merged(merged.tree.merge(Tree(links)), {**merged.origins, **origins}, merged.whole, merged.lenient)
        if links
        else merged
    )


def _dropped(patterns: Sequence[str], tree: Tree) -> dict[str, str]:
    """The paths that a glob of ``exclude`` matches, each with the reason."""
    return {path: f"excluded by {glob}" for glob in reversed(patterns) for path in matching(glob, tree)}


def _included(glob: str, tree: Tree) -> list[str]:
    """The paths that a glob means: a folder that it names stands for all in it. Raises ClosureError for none."""
    found = selected(glob, tree)
    if not found:
        raise ClosureError(f'include: "{glob}" matches nothing', hint=other_glob(glob, tree))
    return found
