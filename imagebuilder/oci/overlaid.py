"""Files of several layers, one laid over the other: what a layer adds, replaces and hides.

OCI Image Format Specification 1.1.1, "layer.md": a whiteout hides what lower layers have, never what its own layer has,
wherever in the archive it stands. A path that leads through a symbolic link is followed within the image, as
containerd does it: an absolute link and ``..`` end at the image's own root.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imagebuilder.errors import SourceError
from imagebuilder.tree import MAX_LINKS, MOST_FOLDERS, Kind, Node, Tree, directory
from imagebuilder.words import counted, shortened

IMPLIED = directory()
MOST_STEPS = 20_000_000  # from folder to folder: the paths of all members, with the links in them
MOST_PLACES = 200_000  # the folders above files that no layer has as such among them


@dataclass(slots=True)
class Place:
    """A node with what stands in it; ``layer`` is the number of the one that it is of, ``whole`` that of the one from
    which on all below it is: nothing older is there any more."""

    node: Node
    layer: int
    whole: int
    inside: dict[str, "Place"] = field(default_factory=dict)


class Overlaid:
    """The files of all layers until now."""

    def __init__(self) -> None:
        self._root = Place(IMPLIED, 0, 0)
        self._steps = self._places = 0
        self.layer = 0
        """The number of the layer that is being laid over the others."""

    def put(self, path: str, node: Node) -> None:
        """Lay a node over what stands there; a folder keeps what stands in it. Raises SourceError."""
        *above, name = _parts(path) or [""]
        if not name:
            if node.kind is not Kind.DIRECTORY:
                raise SourceError(f"the root of the image is a {node.kind} in it")
            self._root.node = node
            return
        folder = self._folder(above, path)
        before = folder.inside.get(name)
        if before is not None and before.node.kind is node.kind is Kind.DIRECTORY:
            before.node, before.layer = node, self.layer
        else:
            folder.inside[name] = self._place(node)

    def find(self, path: str) -> Node | None:
        """The node at a path, whose last link is not followed."""
        *above, name = _parts(path) or [""]
        folder = self._way(above)
        place = folder.inside.get(name) if folder and name else folder
        return place.node if place else None

    def hide(self, path: str) -> None:
        """Hide what lower layers have at a path: what is of this layer stays."""
        *above, name = _parts(path)
        folder = self._way(above)
        if folder and name in folder.inside:
            self._prune(folder.inside[name])
            if not self._stays(folder.inside[name]):
                del folder.inside[name]

    def hide_inside(self, path: str) -> None:
        """Hide what lower layers have in a folder."""
        folder = self._way(_parts(path))
        if folder and folder.node.kind is Kind.DIRECTORY:
            self._prune(folder)

    def tree(self) -> Tree:
        """All of it."""
        return Tree(dict(self._all()))

    def _prune(self, top: Place) -> None:
        """Take away what is not of this layer below a place. A place is looked at once in a layer: then it is whole.
        Not by recursion, since folders may be thousands deep."""
        way: list[tuple[Place, list[str]]] = [(top, [*top.inside])]
        while way:
            place, left = way[-1]
            if place.whole != self.layer and left:
                child = place.inside[left.pop()]
                way.append((child, [*child.inside] if child.whole != self.layer else []))
                continue
            way.pop()
            if place.whole != self.layer:
                place.inside = {name: each for name, each in place.inside.items() if self._stays(each)}
                place.whole = self.layer

    def _stays(self, place: Place) -> bool:
        """Whether a place is of this layer, or has to be there for what is in it: a folder as it is made then."""
        if place.layer != self.layer and place.inside:
            place.node, place.layer = IMPLIED, self.layer
        return place.layer == self.layer

    def _folder(self, parts: list[str], path: str) -> Place:
        """The folder in which a path stands, made where it is missing."""
        found = self._way(parts, made_by=path)
        if found is None:
            raise SourceError(f"{shortened(path)!r} leads through symbolic links that lead to one another")
        return found

    def _way(self, parts: list[str], made_by: str | None = None) -> Place | None:
        """The place at the end of a path, through all links; None for nothing there, or a loop."""
        way = [self._root]
        pending, links = parts[::-1], 0
        while pending:
            part = pending.pop()
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise SourceError("its paths lead through more symbolic links than are followed")
            if part == "..":
                del way[max(1, len(way) - 1) :]
                continue
            if len(way) > MOST_FOLDERS:
                raise SourceError(f"a path in it leads through more than {MOST_FOLDERS} folders")
            step = way[-1].inside.get(part)
            if step is None and made_by is not None:
                step = way[-1].inside[part] = self._place(IMPLIED)
            if step is None:
                return None
            if step.node.kind is Kind.SYMLINK:
                links += 1
                if links > MAX_LINKS:
                    return None
                pending += _parts(step.node.target)[::-1]
                way = way[:1] if step.node.target.startswith("/") else way
            elif step.node.kind is Kind.DIRECTORY or made_by is None:
                way.append(step)
            else:
                raise SourceError(f"{shortened(made_by)!r} would stand in {part!r}, which is a {step.node.kind}")
        return way[-1]

    def _place(self, node: Node) -> Place:
        """A further one, of the layer that is being laid. Raises SourceError for one too many."""
        self._places += 1
        if self._places > MOST_PLACES:
            raise SourceError(f"its paths make more than {counted(MOST_PLACES, 'folder')} and files")
        return Place(node, self.layer, self.layer)

    def _all(self) -> Iterator[tuple[str, Node]]:
        left = [("", self._root)]
        while left:
            path, place = left.pop()
            yield path or "/", place.node
            left += [(f"{path}/{name}", each) for name, each in place.inside.items()]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
