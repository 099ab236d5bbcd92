"""BusyBox's programs, which its package leaves to be linked: their names stand in its one file."""

import re
from collections.abc import Mapping

from imagebuilder.tree import Kind, Node, Tree, symlink

NAME = re.compile(r"(?P<folder>(/usr)?/bin)/busybox")
# applet_names of libbb/appletlib.c: sorted, each ended by a NUL, the last followed by another; "[" and "[[" are first.
NAMES = re.compile(rb"\0\[\0\[\[\0(?P<names>(?:[a-z0-9._-]{1,32}\0){1,1000})")
FOLDERS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
LARGEST_BYTES = 8 << 20


def applets(tree: Tree, program: str) -> Mapping[str, Node]:
    """Links to the BusyBox at a path, beside it, by the names of its programs; none for what is no BusyBox."""
    match, node = NAME.fullmatch(program), tree.get(program)
    if match is None or node is None or node.kind is not Kind.FILE or node.size_bytes > LARGEST_BYTES:
        return {}
    found = NAMES.search(node.content.read())
    names = ["[", "[[", *found["names"].decode().split("\0")[:-1]] if found else []
    return {f"{match['folder']}/{name}": symlink("busybox") for name in names if name != "busybox"}


def lacking(tree: Tree) -> Mapping[str, Node]:
    """The links of a tree's BusyBox where it has no program of that name."""
    programs = (tree.resolve(f"{folder}/busybox") for folder in FOLDERS)
    links = {path: link for program in programs if program for path, link in applets(tree, program).items()}
    return {path: link for path, link in links.items() if not _is_there(path.rpartition("/")[2], tree)}


def _is_there(name: str, tree: Tree) -> bool:
    return any(f"{folder}/{name}" in tree for folder in FOLDERS)
