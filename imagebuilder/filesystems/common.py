"""What all writers share: a file's time, its content in pieces, and an output that appears whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from imagebuilder.errors import OutputError
from imagebuilder.tree import Blob, Node

CHUNK_BYTES = 1 << 20
LARGEST_TIME_S = 0xFFFF_FFFF  # 32 bits are what newc holds


def time_s(node: Node, epoch_s: int) -> int:
    """The time that a node gets in an image: its own, but never later than ``epoch_s``; without one, ``epoch_s``.

    A later time is that of a build or a check-out and would differ the next time; an earlier one is the packager's and
    stays. This is what https://reproducible-builds.org/specs/source-date-epoch/ calls clamping.
    """
    own = epoch_s if node.mtime_s is None else min(node.mtime_s, epoch_s)
    return min(max(own, 0), LARGEST_TIME_S)


def open_blob(blob: Blob) -> BinaryIO:
    """The content as a stream: from memory, or from its file piece by piece. Raises OutputError when that is gone."""
    if blob.data is not None or blob.path is None:
        return BytesIO(blob.read())
    try:
        return blob.path.open("rb")
    except OSError as error:
        raise OutputError(f"{blob.path} cannot be read: {error.strerror}", hint="build again") from error


def copy_blob(blob: Blob, stream: BinaryIO) -> None:
    """Write a content. Raises OutputError when its length is not the declared one."""
    written = 0
    with open_blob(blob) as content:
        while chunk := content.read(CHUNK_BYTES):
            written += stream.write(chunk)
    if written != blob.size_bytes:
        raise OutputError(f"{blob.path or 'a file'} changed while the image was written: build again")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what stands there at the end takes the place of ``path``, or is gone after an error. A link
    stays, and what it leads to is replaced; a device, or a pipe, is written to (/dev/null must stay one)."""
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    special = path.exists() and not (path.is_file() or path.is_dir())
    descriptor, name = tempfile.mkstemp(dir=None if special else target.parent, prefix=f".{target.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as content, path.open("wb") as stream:
                shutil.copyfileobj(content, stream, CHUNK_BYTES)
        else:
            temporary.chmod(0o644)
            temporary.replace(target)
    except OSError as error:
        hint = "free some disk space" if error.errno == errno.ENOSPC else None
        raise OutputError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    finally:
        temporary.unlink(missing_ok=True)
