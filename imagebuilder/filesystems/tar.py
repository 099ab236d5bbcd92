"""The root as a tar archive (pax), for other tools to read and as what ``mksquashfs`` packs."""

import tarfile
from collections.abc import Mapping
from typing import BinaryIO

from imagebuilder.filesystems.common import open_blob, time_s
from imagebuilder.tree import Kind, Node, Tree

XATTR = "SCHILY.xattr."  # the header in which GNU tar, libarchive and squashfs-tools look for an extended attribute
TYPES: Mapping[Kind, bytes] = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.CHARACTER: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}


def write(tree: Tree, stream: BinaryIO, *, epoch_s: int) -> None:
    """Write the archive: paths without a leading slash, the root as ``.``, owners by number only."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for path, node in tree.items():
            entry = _entry(path[1:] or ".", node, epoch_s)
            if node.kind is Kind.FILE:
                with open_blob(node.content) as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)


def _entry(name: str, node: Node, epoch_s: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = TYPES[node.kind]
    entry.mode, entry.uid, entry.gid = node.mode, node.uid, node.gid
    entry.mtime = time_s(node, epoch_s)
    entry.size = node.size_bytes if node.kind is Kind.FILE else 0
    entry.linkname = node.target
    entry.devmajor, entry.devminor = node.device
    entry.pax_headers = {f"{XATTR}{name}": value.decode(errors="surrogateescape") for name, value in node.xattrs}
    return entry
