"""What is in an image as one page that needs nothing else: no network, no script, no font."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import imagebuilder
from imagebuilder.bundle import Bundle
from imagebuilder.measure.render import words
from imagebuilder.measure.render.html import environment
from imagebuilder.measure.render.pictures import colour
from imagebuilder.measure.render.treemap import Group, Leaf, treemap
from imagebuilder.sbom import reading
from imagebuilder.sbom.reading import Bill
from imagebuilder.tree import Kind, Tree
from imagebuilder.words import counted

TEMPLATE = "contents.html.j2"
MOST_LINES = 400


@dataclass(frozen=True, slots=True)
class OwnerLine:
    """A line of the table: whose the files are, the class of its colour, its version, how many, their bytes."""

    name: str
    colour: str
    version: str
    files: int
    bytes: int


def page(bundle: Bundle, root: Tree, *, sent_bytes: int | None) -> str:
    """The page of an image, whose root is given as a tree: a treemap of the kernel and of all files by whose they are,
    and both as tables. Raises InputError when its bill of materials cannot be read."""
    image, bill = bundle.image, reading.read(bundle.folder)
    sizes = {path: node.size_bytes for path, node in root.items() if node.kind is Kind.FILE}
    owners = {path: bill.files[path].owner if path in bill.files else image.name for path in sizes}
    lines = _lines(sizes, owners, bill)
    groups = [_group(line, sizes, owners) for line in lines]
    kernel = Leaf(image.kernel.file, image.kernel.bytes, f"{image.kernel.file}\n{words.size(image.kernel.bytes)}")
    groups.append(Group(f"kernel {image.kernel.name}", (kernel,), "grey"))
    largest = sorted(sizes.items(), key=lambda each: (-each[1], each[0]))
    title = f"{counted(len(sizes), 'file')} and the kernel by size"
    return environment().get_template(TEMPLATE).render(
        image=image,
        picture=treemap(groups, title=title),
        lines=lines,
        files=[(path, owners[path], size) for path, size in largest[:MOST_LINES]],
        more=max(len(largest) - MOST_LINES, 0),
        left_out=sorted((each for each in image.contents if not each.kept), key=lambda each: -each.bytes),
        root_bytes=sum(sizes.values()),
        sent_bytes=sent_bytes,
        words=words,
        version=imagebuilder.__version__,
    )  # fmt: skip


def _lines(sizes: Mapping[str, int], owners: Mapping[str, str], bill: Bill) -> list[OwnerLine]:
    """Those who have files, the largest first, which have the colours that differ most."""
    found: dict[str, list[int]] = {}
    for path, size in sizes.items():
        found.setdefault(owners[path], []).append(size)
    ranked = sorted(found.items(), key=lambda each: (-sum(each[1]), each[0]))
    return [
        OwnerLine(name, colour(rank), bill.versions.get(name, ""), len(each), sum(each))
        for rank, (name, each) in enumerate(ranked)
    ]


def _group(line: OwnerLine, sizes: Mapping[str, int], owners: Mapping[str, str]) -> Group:
    paths = [path for path, owner in owners.items() if owner == line.name]
    leaves = (Leaf(PurePosixPath(path).name, sizes[path], f"{path}\n{words.size(sizes[path])}") for path in paths)
    return Group(line.name, tuple(leaves), line.colour)
