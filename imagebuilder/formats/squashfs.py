"""A compressed squashfs disk, packed by ``sqfstar`` from our tar, so that owners and devices need no root."""

from collections.abc import Mapping
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from imagebuilder import process
from imagebuilder.formats import tar
from imagebuilder.formats.common import replacing, time_s
from imagebuilder.tree import Tree

TOOL = "sqfstar"


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
    archive = BytesIO()
    tar.write(tree, archive, epoch_s=epoch_s)
    with replacing(path) as temporary:
        process.run(argv(tree, temporary, epoch_s=epoch_s, compressor=compressor), stdin=archive.getvalue())


def argv(tree: Tree, path: Path, *, epoch_s: int, compressor: Compressor) -> list[str]:
    """The command that makes the disk at ``path`` (which may exist) from a tar at its standard input."""
    root = tree["/"]
    return [
        *(TOOL, "-force", "-quiet", "-no-progress", "-exit-on-error"),
        *("-reproducible", "-mkfs-time", str(epoch_s)),
        *("-no-xattrs", "-comp", compressor.value, *OPTIONS[compressor]),
        # sqfstar leaves the archive's entry of the root alone
        *("-root-mode", f"{root.mode:o}", "-root-uid", str(root.uid), "-root-gid", str(root.gid)),
        *("-root-time", str(time_s(root, epoch_s)), str(path)),
    ]
