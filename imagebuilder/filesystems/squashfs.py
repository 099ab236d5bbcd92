"""A compressed squashfs disk, packed by ``mksquashfs`` from our tar, so that owners and devices need no root.

Not by ``sqfstar``: that of squashfs-tools 4.5 (Debian 12) refuses every compressor option that has a value.
"""

from collections.abc import Mapping
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from imagebuilder import process
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import tar
from imagebuilder.filesystems.common import replacing
from imagebuilder.tree import Tree

TOOL = "mksquashfs"


class Compressor(StrEnum):
    """How blocks are compressed; the guest's kernel must know it."""

    ZSTD = "zstd"
    XZ = "xz"
    LZ4 = "lz4"


OPTIONS: Mapping[Compressor, tuple[str, ...]] = {
    Compressor.ZSTD: ("-Xcompression-level", "19"),
    Compressor.XZ: (),
    Compressor.LZ4: ("-Xhc",),
}


def write(tree: Tree, path: Path, *, epoch_s: int, compressor: Compressor = Compressor.ZSTD) -> None:
    """Write the disk. Raises ToolMissing, ToolFailed or OutputError."""
    if (tree["/"].uid, tree["/"].gid) != (0, 0):
        raise OutputError("squashfs-tools give the root folder to user 0: choose another root format, or that owner")
    archive = BytesIO()
    tar.write(tree, archive, epoch_s=epoch_s)
    with replacing(path) as temporary:
        # it is the only way to say the time of the root folder and of the disk, which would be now
        when = {"SOURCE_DATE_EPOCH": str(epoch_s)}
        attributes = any(node.xattrs for node in tree.values())
        words = argv(temporary, root_mode=tree["/"].mode, compressor=compressor, xattrs=attributes)
        process.run(words, stdin=archive.getvalue(), env=when)


def argv(path: Path, *, root_mode: int, compressor: Compressor, xattrs: bool = False) -> list[str]:
    """The command that makes the disk at ``path`` (which may exist) from a tar at its standard input."""
    return [
        *(TOOL, "-", str(path), "-tar", "-noappend"),
        *("-comp", compressor.value, *OPTIONS[compressor]),
        *(
            "-xattrs" if xattrs else "-no-xattrs",
            "-root-mode",
            f"{root_mode:o}",
        ),  # the archive's own entry of the root is left aside
        *("-quiet", "-no-progress", "-exit-on-error"),
    ]
