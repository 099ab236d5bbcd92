"""Files laid over a tree as a running system would have it: through the links that stand in their way."""

from collections.abc import Mapping, Sequence

from imagebuilder.errors import InputError
from imagebuilder.tree import Kind, Node, Tree, directory

NOBODY: Mapping[str, str] = {}


def overlay(
    base: Tree,
    nodes: Mapping[str, Node],
    *,
    below: Mapping[str, str] = NOBODY,
    above: Mapping[str, str] = NOBODY,
    is_source: bool = False,
) -> tuple[Tree, dict[str, str]]:
    """The tree with ``nodes`` over it, and by the place of each that came to stand there its path in ``nodes``.

    A node below a link to a folder (``/lib/x`` where ``/lib`` is a link) stands in that folder. A folder does not take
    the place of a link to a folder, and one that is only implied keeps the mode that it has. ``below`` and ``above``
    name what the paths of either are of. Raises InputError when something that is no folder would have to be one, and
    for what ``is_source`` also where a folder with something in it would make place for something else.
    """
    placed: dict[str, Node] = {}
    origin: dict[str, str] = {}
    for path, node in nodes.items():
        where = _place(base, path)
        target = base.resolve(where)
        if node.kind is Kind.DIRECTORY and target is not None:
            if base[target].kind is not Kind.DIRECTORY:
                raise InputError(_at_odds(path, node, above, target, base[target], below))
            where = target
        if not (node == directory() and where in base):
            placed[where], origin[where] = node, path
    taken = {path for path, node in placed.items() if node.kind is not Kind.DIRECTORY and path in base}
    folders = sorted(path for path in taken if base[path].kind is Kind.DIRECTORY)
    full = next((each for each in folders if any(path.startswith(f"{each}/") for path in base)), None)
    if is_source and full is not None:
        raise InputError(_at_odds(origin[full], placed[full], above, full, base[full], below))
    return Tree(_uncovered(base, folders) | placed), origin


def _at_odds(
    path: str, node: Node, above: Mapping[str, str], target: str, stands: Node, below: Mapping[str, str]
) -> str:
    """The sentence for two sources that cannot both have what they have, by their names."""
    who, other = _whose(path, above) or "one source or [[files]]", _whose(target, below) or "another"
    kinds = ["folder" if each.kind is Kind.DIRECTORY else str(each.kind) for each in (node, stands)]
    return f"{path} is a {kinds[0]} in {who}, and a {kinds[1]} in {other}"


def _whose(path: str, origins: Mapping[str, str]) -> str | None:
    """What a path is of; of a folder that is only implied, what is in it."""
    return origins.get(path) or next((name for each, name in origins.items() if each.startswith(f"{path}/")), None)


def _place(base: Tree, path: str) -> str:
    folder, _, name = path.rpartition("/")
    if not folder or (folder in base and base[folder].kind is Kind.DIRECTORY):
        return path
    above = _place(base, folder)
    real = base.resolve(above) if above in base else above
    if real is None:
        raise InputError(f"{path} cannot stand in the image: {folder} is a link to nothing there")
    return f"{real.rstrip('/')}/{name}"


def _uncovered(base: Tree, folders: Sequence[str]) -> dict[str, Node]:
    """The base's nodes but what stood in folders whose place something else has taken."""
    gone = tuple(f"{path}/" for path in folders)
    return {path: node for path, node in base.items() if not (gone and path.startswith(gone))}
