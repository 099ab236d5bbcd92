"""Files laid over a tree as a running system would have it: through the links that stand in their way."""

from collections.abc import Mapping

from imagebuilder.errors import InputError
from imagebuilder.tree import Kind, Node, Tree, directory, is_below


def overlay(base: Tree, nodes: Mapping[str, Node]) -> tuple[Tree, dict[str, str]]:
    """The tree with ``nodes`` over it, and by the place of each that came to stand there its path in ``nodes``.

    A node below a link to a folder (``/lib/x`` where ``/lib`` is a link) stands in that folder. A folder does not take
    the place of a link to a folder, and one that is only implied keeps the mode that it has. Raises InputError when
    something that is no folder would have to be one.
    """
    placed: dict[str, Node] = {}
    origin: dict[str, str] = {}
    for path, node in nodes.items():
        where = _place(base, path)
        target = base.resolve(where)
        if node.kind is Kind.DIRECTORY and target is not None:
            if base[target].kind is not Kind.DIRECTORY:
                raise InputError(f"{path} is a folder in one source or [[files]], and a {base[target].kind} in another")
            where = target
        if not (node == directory() and where in base):
            placed[where], origin[where] = node, path
    return Tree(_uncovered(base, placed) | placed), origin


def _place(base: Tree, path: str) -> str:
    folder, _, name = path.rpartition("/")
    if not folder or (folder in base and base[folder].kind is Kind.DIRECTORY):
        return path
    above = _place(base, folder)
    real = base.resolve(above) if above in base else above
    if real is None:
        raise InputError(f"{path} cannot stand in the image: {folder} is a link to nothing there")
    return f"{real.rstrip('/')}/{name}"


def _uncovered(base: Tree, placed: Mapping[str, Node]) -> dict[str, Node]:
    """The base's nodes but what stood in folders whose place something else has taken."""
    taken = {path for path, node in placed.items() if node.kind is not Kind.DIRECTORY and path in base}
    gone = {path for path in taken if base[path].kind is Kind.DIRECTORY}
    return {path: node for path, node in base.items() if not (gone and is_below(path, gone))}
