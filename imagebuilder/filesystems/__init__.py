"""The file systems in which the root of an image can be written, one row each: ``FILESYSTEMS[name].write(…)``.

The bytes depend on the tree and on ``epoch_s`` only; the file appears whole or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from imagebuilder.filesystems import cpio, erofs, squashfs, tar
from imagebuilder.filesystems.common import replacing
from imagebuilder.tree import Tree


class Write(Protocol):
    """Write a tree to a path. Raises OutputError, ToolMissing, ToolFailed."""

    def __call__(self, tree: Tree, path: Path, *, epoch_s: int) -> None:
        """Write it."""


class WriteStream(Protocol):
    """Write a tree to a stream."""

    def __call__(self, tree: Tree, stream: BinaryIO, *, epoch_s: int) -> None:
        """Write it."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One way to write a root. ``disk``: a disk that the guest mounts, and no initramfs or archive; ``xattrs``
    is the kernel's symbol by which file capabilities are seen on it (attributes whose names begin with "security."):
    empty where none is needed, None where the format has no attributes. ``magic`` is what its files have,
    and at which offset."""

    name: str
    suffix: str
    summary: str
    write: Write
    magic: tuple[int, bytes]
    tools: tuple[str, ...] = ()
    disk: bool = False
    xattrs: str | None = None


def _to_path(write: WriteStream) -> Write:
    def write_path(tree: Tree, path: Path, *, epoch_s: int) -> None:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            write(tree, stream, epoch_s=epoch_s)

    return write_path


ROWS = (
    FileSystem("cpio", ".cpio", "the initramfs: unpacked into memory", _to_path(cpio.write), (0, b"070701")),
    FileSystem(
        "erofs",
        ".erofs",
        "a read-only disk, not compressed: mapped, never copied",
        _to_path(erofs.write),
        (1024, bytes.fromhex("e2e1f5e0")),
        disk=True,
        xattrs="EROFS_FS_SECURITY",
    ),
    FileSystem(
        "squashfs",
        ".squashfs",
        "a read-only disk, compressed",
        squashfs.write,
        (0, b"hsqs"),
        (squashfs.TOOL,),
        disk=True,
        xattrs="SQUASHFS_XATTR",
    ),
    FileSystem(
        "tar", ".tar", "an archive to look at with other tools", _to_path(tar.write), (257, b"ustar"), xattrs=""
    ),
)
FILESYSTEMS: Mapping[str, FileSystem] = {row.name: row for row in ROWS}
