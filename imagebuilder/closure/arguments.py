"""What the arguments of the command name: files of the packages that the application opens because of them."""

import re
from collections.abc import Iterable, Iterator, Mapping

from imagebuilder.tree import Kind, Tree
from imagebuilder.words import to_add

# ``/etc/x``, ``-c/etc/x``, ``--config=/etc/x``, ``a=b,/etc/x``, ``/usr/share/java/a.jar:/usr/share/java/b.jar``.
BEFORE = re.compile(r"^(?:-\w|[\w.-]+=)?(?=/)|(?<=[=:,])(?=/)")
MOST_CHARACTERS = 4096


def paths(arguments: Iterable[str]) -> list[str]:
    """What could be absolute paths in them."""
    found: dict[str, None] = {}
    for argument in arguments:
        for match in BEFORE.finditer(argument[:MOST_CHARACTERS]):
            rest = argument[match.end() :]
            found |= dict.fromkeys(path for path in (rest, *re.split("[:,]", rest)[:1]) if path.startswith("/"))
    return [*found]


def files(arguments: Iterable[str], tree: Tree) -> list[str]:
    """The files of a tree that arguments name."""
    return [path for path in paths(arguments) if _kind(path, tree) is Kind.FILE]


def folders_left_out(
    arguments: Iterable[str], tree: Tree, origins: Mapping[str, str], kept: Mapping[str, object]
) -> Iterator[str]:
    """A sentence for each folder of one package that an argument names, and of whose files none is kept. What is in
    the tree without an origin comes into every image: the recipe's own files."""
    for path in (each.rstrip("/") for each in paths(arguments)):
        if _kind(path, tree) is not Kind.DIRECTORY:
            continue
        below = f"{tree.resolve(path)}/"
        inside = [each for each, node in tree.items() if each.startswith(below) and node.kind is not Kind.DIRECTORY]
        owners = {origins.get(each) for each in inside}
        owner = owners.pop() if len(owners) == 1 else None
        if owner is not None and not any(each in kept for each in inside):
            yield (
                f'the command is given "{path}", a folder of {owner} of which the image has no file: '
                + to_add([path], "include", "source")
            )


def _kind(path: str, tree: Tree) -> Kind | None:
    real = tree.resolve(path)
    return None if real is None else tree[real].kind
