"""The files that a recipe adds, as the closure sees them: known before anything is slimmed."""

from dataclasses import replace

from imagebuilder.closure.elf import MAGIC
from imagebuilder.tree import Blob, Kind, Node

UNREAD = Blob.of(b"a content that the closure does not read")


def as_seen(path: str, node: Node) -> Node:
    """An added file as the closure sees it: with its content only where that is read."""
    return node if node.kind is not Kind.FILE or _is_read(path, node) else replace(node, content=UNREAD)


def _is_read(path: str, node: Node) -> bool:
    """Programs, libraries and scripts are read, modules compiled, and the linker's configuration obeyed."""
    return path.endswith(".py") or path.startswith("/etc/ld.so.") or node.content.read()[:4].startswith((MAGIC, b"#!"))
