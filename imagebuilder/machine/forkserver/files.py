"""The files that a QEMU writes and no other process can open: a copy of it needs its own."""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from imagebuilder.errors import MachineError

BLOCK_BYTES = 1 << 20
MEMORY_FILE = "/memfd:"


def written_by(pid: int) -> tuple[Path, ...]:
    """The files without a name that a process has open to write to: what a guest changed of its disks."""
    return tuple(filter(_is_written, Path(f"/proc/{pid}/fd").iterdir()))


def _is_written(descriptor: Path) -> bool:
    try:
        found, writes = descriptor.stat(), descriptor.lstat().st_mode & stat.S_IWUSR
        in_memory = str(descriptor.readlink()).startswith(MEMORY_FILE)
    except FileNotFoundError:  # closed meanwhile
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_nlink and bool(writes) and not in_memory


def copied(files: Iterable[Path], stack: ExitStack) -> dict[int, int]:
    """Copies of such files, closed by the stack: from the number that each has there to ours. Raises MachineError."""
    try:
        return {int(each.name): _copy(each, stack.enter_context(tempfile.TemporaryFile())) for each in files}
    except FileNotFoundError as error:
        raise MachineError("the fork server has ended") from error
    except OSError as error:
        raise MachineError(
            f"what the guest wrote to its disks cannot be copied to {tempfile.gettempdir()}: {error.strerror}",
            hint="set TMPDIR to a folder with room",
        ) from error


def _copy(source: Path, target: IO[bytes]) -> int:
    """The same content; what is empty stays so. Returns the target's descriptor."""
    with source.open("rb") as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        target.truncate(size_bytes)
        for begin, end in _extents(stream.fileno(), size_bytes):
            while begin < end and (content := os.pread(stream.fileno(), min(BLOCK_BYTES, end - begin), begin)):
                begin += os.pwrite(target.fileno(), content, begin)
    return target.fileno()


def _extents(descriptor: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where a file has content (lseek(2))."""
    end = 0
    while end < size_bytes:
        try:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, end
