"""What of an image stands where something is mounted over it: init copies it onto the mount where it can, and what
a mount would hide for ever is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from imagebuilder.errors import InputError
from imagebuilder.platforms.values import Mount
from imagebuilder.tree import Kind, Node, Tree, directory
from imagebuilder.words import whole_number

# Init mounts them before all others.
ALWAYS = (Mount("proc", "/proc"), Mount("devtmpfs", "/dev"))
EMPTY_AT_FIRST = ("tmpfs", "devtmpfs")
PAGE_BYTES = 4096
UNITS: Mapping[str, int] = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
NOT_COPIED = ("ro", "bind", "rbind")


def mount_points(mounts: Sequence[Mount]) -> Tree:
    """A folder for each mount: a root that cannot be written has no other chance to get it."""
    always = [mount.target for mount in ALWAYS]
    return Tree({mount.target: directory() for mount in mounts if not _inside(mount.target, *always)})


def copied(tree: Tree, mounts: Sequence[Mount], system: Tree) -> tuple[str, ...]:
    """The mount points onto which init has to copy what the tree has there, but for what is of the OS layer itself.

    Raises InputError for what would be hidden: by a mount that cannot take it, or a mount by one behind it.
    """
    _check_order(tree, mounts)
    for mount in (*ALWAYS, *mounts):
        _check_folder(tree, mount)
    places = {_real(tree, mount.target): mount for mount in (*ALWAYS, *mounts)}
    onto: dict[str, dict[str, Node]] = {}
    for path, node in tree.items():
        if system.get(path) == node or path in places:
            continue
        above = next((place for place in _above(path) if place in places), None)
        if above and places[above].type != "overlay":  # which shows what is below it, or what its options say
            onto.setdefault(above, {})[path] = node
    for place, nodes in onto.items():
        _check_takes(places[place], nodes)
    return tuple(sorted(place for place in onto if not any(other in onto for other in _above(place))))


def _check_order(tree: Tree, mounts: Sequence[Mount]) -> None:
    for number, mount in enumerate(mounts):
        for later in mounts[number + 1 :]:
            if later.type != "overlay" and _inside(_real(tree, mount.target), _real(tree, later.target)):
                raise InputError(
                    f"root.mounts: {_words(later)} hides {_words(mount)}, which is mounted before it",
                    hint="put the outer one first, and each target once",
                )


def _check_folder(tree: Tree, mount: Mount) -> None:
    place = _real(tree, mount.target)
    if place in tree and tree[place].kind is not Kind.DIRECTORY:
        who = f"{mount.type}, which every image has on {mount.target}," if mount in ALWAYS else _words(mount)
        raise InputError(
            f"root.mounts: {who} has no folder to be mounted on: {place} is a {tree[place].kind}",
            hint="mount it elsewhere, or leave that out of the image",
        )


def _check_takes(mount: Mount, nodes: Mapping[str, Node]) -> None:
    first, more = next(iter(nodes)), f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    if mount in ALWAYS and mount.type not in EMPTY_AT_FIRST:
        raise InputError(
            f"{first}{more} would be in the image and never be found: {mount.type} is mounted on {mount.target}",
            hint="choose another path for it",
        )
    options = mount.options.split(",")
    if mount.type not in EMPTY_AT_FIRST or any(word in options for word in NOT_COPIED):
        raise InputError(
            f"root.mounts: {_words(mount)} would hide {first}{more} of the image",
            hint="mount it elsewhere, or leave that out of the image",
        )
    needed = sum(-(-node.size_bytes // PAGE_BYTES) * PAGE_BYTES for node in nodes.values() if node.kind is Kind.FILE)
    if (size := _size_bytes(options)) is not None and needed > size:
        raise InputError(
            f"root.mounts: {_words(mount)} is too small for {first}{more}, which init copies onto it: {needed} bytes",
            hint="give it a larger size=, or leave that out of the image",
        )


def _size_bytes(options: Sequence[str]) -> int | None:
    """The size that a tmpfs is given; None for none, or one in parts of the machine's memory."""
    size = next((word.removeprefix("size=").lower() for word in options if word.startswith("size=")), "")
    count, unit = (size[:-1], UNITS[size[-1]]) if size[-1:] in UNITS else (size, 1)
    return (whole_number(count) or 0) * unit or None


def _real(tree: Tree, target: str) -> str:
    return tree.resolve(target) or target


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def _inside(path: str, *folders: str) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _words(mount: Mount) -> str:
    given = mount if mount.options != "defaults" else replace(mount, options="")
    return f'"{" ".join(filter(None, (given.type, given.target, given.options)))}"'
