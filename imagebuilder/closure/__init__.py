"""Which files an application really needs, out of all that its packages brought.

Needed are the command (for a script, its interpreter), the libraries that the dynamic linker will look for, what the
recipe includes, the libraries of the ELF files among that, and the links that lead there.

Not seen are files that a program opens or loads by name while it runs; the recipe includes them where they matter:
plug-ins, data, locales, ``libgcc_s.so.1`` (glibc loads it for pthread_cancel, pthread_exit and backtrace),
``/usr/lib/x86_64-linux-gnu/gconv/**`` (iconv), ``libnss_*.so*`` (since glibc 2.34, ``files`` and ``dns`` are in libc).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagebuilder.closure import globs
from imagebuilder.closure.groups import Group, groups
from imagebuilder.closure.walk import Walk
from imagebuilder.errors import ClosureError
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Tree

__all__ = ["Group", "Slimmed", "merge", "needed", "slim"]


@dataclass(frozen=True)
class Slimmed:
    """The tree of what is needed, and what was kept and dropped."""

    tree: Tree
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Merged:
    """Layers as one tree, the later over the earlier, with the origin of each path and those that are kept anyway."""

    tree: Tree
    origins: Mapping[str, str]
    whole: frozenset[str]


def slim(layers: Sequence[Layer], *, roots: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> Slimmed:
    """What the programs ``roots`` (absolute paths) need of the layers, and what the globs ``include`` name.

    ``exclude`` takes from what is included and from layers that are kept whole. Raises ClosureError for a program that
    is not there or cannot run, for a library that is missing or excluded, and for a glob that matches nothing.
    """
    merged = merge(layers)
    dropped = _matched(exclude, merged.tree, "excluded by {}")
    walk = Walk(merged.tree, dropped)
    for root in roots:
        walk.command(root)
    for path in sorted(merged.whole - dropped.keys()):
        walk.whole(path)
    for glob in include:
        for path in _included(glob, merged.tree):
            walk.include(path, glob)
    walk.check()
    tree = merged.tree.filter(lambda path, _: path in walk.kept).merge(Tree(walk.links))
    rest = f"not needed by {', '.join(roots)}" if roots else "not needed"
    return Slimmed(tree, groups(merged.tree, merged.origins, walk.kept, dropped, rest))


def needed(tree: Tree, command: str) -> tuple[str, ...]:
    """The files that a program is made of in an image: itself, its interpreter, its libraries; in the order in which
    they are loaded. Raises ClosureError."""
    walk = Walk(tree, {})
    walk.command(command)
    return tuple(path for path in walk.kept if path in tree and tree[path].kind is Kind.FILE)


def merge(layers: Sequence[Layer]) -> Merged:
    """Layers as one tree; through the links that stand in it, as on a running system."""
    tree = Tree()
    origins: dict[str, str] = {}
    whole: set[str] = set()
    for layer in layers:
        tree, placed = overlay(tree, layer.tree)
        origins |= {where: layer.origins[path] for where, path in placed.items() if path in layer.origins}
        whole = whole.difference(placed) if layer.slim else whole.union(placed)
    return Merged(tree, origins, frozenset(whole))


def _matched(patterns: Sequence[str], tree: Tree, why: str) -> dict[str, str]:
    """The paths that a glob matches, each with the reason."""
    globs_ = [(glob, globs.matcher(_real(glob, tree))) for glob in patterns]
    return {path: why.format(glob) for path in tree for glob, matcher in globs_ if matcher.fullmatch(path)}


def _included(glob: str, tree: Tree) -> list[str]:
    """The paths that a glob means: a folder that it names stands for all in it. Raises ClosureError for none."""
    matcher = globs.matcher(_real(glob, tree))
    found = [path for path in tree if matcher.fullmatch(path)]
    if not found:
        raise ClosureError(f'source.include: "{glob}" matches nothing', hint=did_you_mean(glob, tree))
    folders = tuple(f"{path}/" for path in found if tree[path].kind is Kind.DIRECTORY)
    return [path for path in tree if matcher.fullmatch(path) or path.startswith(folders)]


def _real(glob: str, tree: Tree) -> str:
    """The glob with the links in its fixed part resolved (/lib/… is in /usr/lib/…), but for a link that it names."""
    fixed = globs.fixed_part(glob)
    folder = fixed if fixed != glob else fixed.rpartition("/")[0]
    real = tree.resolve(folder) if folder else None
    return glob if real is None else real.rstrip("/") + glob.removeprefix(folder)
