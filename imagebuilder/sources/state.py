"""The folders in which applications keep what changes, as their packages have or make them."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Kind, Node, Tree

PLACES = ("/var/", "/run/")
LINKS = ("/var/run", "/var/lock")


def state_folders(layers: Sequence[Layer], kept: Tree, packages: Collection[str]) -> dict[str, Node]:
    """The folders below ``/var`` and ``/run`` of packages that are in the image, with their owners and modes; they cost
    some bytes, and without them a program cannot write its log or its socket where its package has it."""
    found: dict[str, Node] = {}
    for layer in layers:
        for path, node in layer.tree.items():
            own = node.kind is Kind.DIRECTORY and path.startswith(PLACES) and layer.origins.get(path) in packages
            if (own or (path in LINKS and node.kind is Kind.SYMLINK)) and _fits(path, kept):
                found[path] = node
    return found


def _fits(path: str, kept: Tree) -> bool:
    above = (str(parent) for parent in PurePosixPath(path).parents)
    return path not in kept and all(kept[parent].kind is Kind.DIRECTORY for parent in above if parent in kept)
