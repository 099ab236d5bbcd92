"""Trees, and the archives that they come out of: what the doors of archives have in common."""

import io
import tarfile

from imagebuilder.filesystems import cpio, erofs, tar
from imagebuilder.tree import Tree

EPOCH_S = 1_700_000_000


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object) -> bytes:
    """One member of an archive (pax)."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def archive(*members: bytes) -> bytes:
    """An archive of these."""
    return b"".join(members) + bytes(2 * tarfile.BLOCKSIZE)


def written(tree: Tree) -> Tree:
    """A tree that the file systems of an image hold. Raises OutputError for one that they do not."""
    for each in (cpio, erofs, tar):
        each.write(tree, io.BytesIO(), epoch_s=EPOCH_S)
    return tree
