"""What a machine changed of a tree, as a layer: read from the stream that it wrote, which is foreign data."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Kind, Node, Tree, directory, is_below

OPAQUE, OVERLAY = "trusted.overlay.opaque", "trusted.overlay."
REMOVED = (0, 0)  # overlayfs has a character device of these numbers where a file was removed
# A folder that was made to look as one that is only implied: an image has no time later than its own (``time_s``).
LATEST_S = 2**32 - 1
KEPT_BY_THE_KERNEL = "security."  # attributes that a kernel need not show of its root


@dataclass(frozen=True, slots=True)
class Changes:
    """What stands elsewhere than before, and at which paths nothing of before stands any more."""

    nodes: Mapping[str, Node]
    removed: tuple[str, ...]


def changes(stream: IO[bytes], base: Tree, *, name: str, most_bytes: int, keep: tarball.Keep) -> Changes:
    """What a stream of changes (docs/contracts.md) does to the tree that the machine had. Times do not count: what was
    changed gets the image's own, as if it had been there from the start.

    ``keep`` takes contents. Raises SourceError, which calls the stream ``name``, for a damaged one, one of more than
    the bounds, and one that would write elsewhere.
    """
    try:
        written = tarball.nodes_of(tarball.members(stream, name, most_bytes), name, keep)
    except tarball.DAMAGED as error:
        raise SourceError(f"{name} is refused: its stream of changes is damaged ({error})") from error
    removed = {path: None for path, node in written.items() if path in base and _hides(node, base[path])}
    nodes = {}
    for path, node in written.items():
        if _is_removal(node):
            continue
        before = None if path in removed or is_below(path, removed) else base.get(path)
        after = _plain(node, before)
        if before is None or after != replace(before, mtime_s=None):
            nodes[path] = replace(after, mtime_s=LATEST_S) if before is not None and after == directory() else after
    return Changes(nodes, tuple(removed))


def layer(found: Changes, *, title: str, without: Collection[str] = ()) -> Layer:
    """The changes as a layer that is kept whole: they were made on purpose. What was done at and below the paths
    ``without`` is left out: a guest need not hold to what its orders say of them."""
    nodes = {path: node for path, node in found.nodes.items() if not (path in without or is_below(path, without))}
    removed = tuple(path for path in found.removed if not (path in without or is_below(path, without)))
    return Layer(Tree(nodes), dict.fromkeys(nodes, title), removed=removed)


def _is_removal(node: Node) -> bool:
    return node.kind is Kind.CHARACTER and node.device == REMOVED


def _hides(node: Node, before: Node) -> bool:
    """Whether nothing of before is seen at its path: it was removed, is a folder that was replaced by a new one, or
    something else where a folder stood."""
    replaced = before.kind is Kind.DIRECTORY and node.kind is not Kind.DIRECTORY
    return replaced or _is_removal(node) or any(name == OPAQUE for name, _ in node.xattrs)


def _plain(node: Node, before: Node | None) -> Node:
    """The node without what overlayfs notes of it. The kernel shows no attributes of security of its root: a file with
    the same content has them as before."""
    own = {name: value for name, value in node.xattrs if not name.startswith(OVERLAY)}
    if before is not None and (before.kind, before.content) == (node.kind, node.content):
        own = {**dict(_unseen(before)), **own}
    return replace(node, mtime_s=None, xattrs=tuple(sorted(own.items())))


def _unseen(node: Node) -> Iterator[tuple[str, bytes]]:
    return ((name, value) for name, value in node.xattrs if name.startswith(KEPT_BY_THE_KERNEL))
