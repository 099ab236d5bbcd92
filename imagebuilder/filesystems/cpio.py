"""The initramfs format: a cpio archive of the kind ``newc``.

The layout is that of Documentation/driver-api/early-userspace/buffer-format.rst of Linux: a header of 110 ASCII
characters, the name with a NUL, the content; name and content are padded to 4 bytes.
"""

from typing import BinaryIO

from imagebuilder.errors import OutputError
from imagebuilder.filesystems.common import copy_blob, time_s
from imagebuilder.tree import Kind, Node, Tree, encoded

MAGIC = "070701"
TRAILER = "TRAILER!!!"
LARGEST_BYTES = 0xFFFF_FFFF
ALIGNMENT_BYTES = 4


def write(tree: Tree, stream: BinaryIO, *, epoch_s: int) -> None:
    """Write the archive. The root is the entry ``.``, so that its mode and owner count too.

    Raises OutputError for a file of 4 GiB or more, which the format cannot hold.
    """
    for number, (path, node) in enumerate(tree.items(), start=1):
        if node.size_bytes > LARGEST_BYTES:
            raise OutputError(f"{path} is too large for a cpio archive (4 GiB): choose another root format")
        stream.write(_header(path[1:] or ".", node, number=number, epoch_s=epoch_s))
        _write_content(node, stream)
    stream.write(_entry(TRAILER, (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)))


def _header(name: str, node: Node, *, number: int, epoch_s: int) -> bytes:
    links = 2 if node.kind is Kind.DIRECTORY else 1
    major, minor = node.device if node.kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0)
    times_and_size = (time_s(node, epoch_s), node.size_bytes)
    return _entry(name, (number, node.st_mode, node.uid, node.gid, links, *times_and_size, 0, 0, major, minor))


def _entry(name: str, fields: tuple[int, ...]) -> bytes:
    """A header of 11 fields (ino, mode, uid, gid, nlink, mtime, size, two devices) and the name; the checksum is 0."""
    named = encoded(name) + b"\0"
    numbers = "".join(f"{field:08X}" for field in (*fields, len(named), 0))
    head = (MAGIC + numbers).encode() + named
    return head + _padding(len(head))


def _write_content(node: Node, stream: BinaryIO) -> None:
    if node.kind is Kind.SYMLINK:
        stream.write(encoded(node.target))
    elif node.kind is Kind.FILE:
        copy_blob(node.content, stream)
    stream.write(_padding(node.size_bytes))


def _padding(length: int) -> bytes:
    return b"\0" * (-length % ALIGNMENT_BYTES)
