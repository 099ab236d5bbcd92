"""zip archives as nodes: read as ``tarball`` reads tar archives, within the same bounds.

Entries are stored or deflated; modes are those of Unix where the archive has them, times the image's own: zip notes
local times of an unknown zone.
"""

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from imagebuilder import tarball
from imagebuilder.errors import OutputError, SourceError
from imagebuilder.tarball import Keep
from imagebuilder.tree import Blob, Node, directory, file, symlink

UNIX = 3  # of "version made by" (APPNOTE 4.4.2.2): the higher half of the attributes is st_mode
ENCRYPTED = 1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_DIRECTORY_BYTES = 16 << 20  # the list of entries, which is read at once
# What zipfile raises for damaged archives.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, IndexError)


def read(stream: IO[bytes], name: str, keep: Keep) -> dict[str, Node]:
    """The nodes of an archive's entries by absolute path; ``keep`` takes each content, a large one as a file that is
    gone afterwards; ``name`` is what errors call it.

    Raises SourceError for a file that is no zip archive, is damaged or encrypted, has entries that would be written
    elsewhere, or is more than the bounds.
    """
    nodes: dict[str, Node] = {}
    folders: set[str] = set()
    with opened(stream, name) as archive:
        for entry in archive.infolist():
            where = tarball.inside(entry.filename, entry.is_dir(), nodes, folders, name)
            if where in nodes and not (entry.is_dir() and where in folders):
                raise SourceError(f"{name} is refused: it has {entry.filename!r} twice")
            nodes[where] = _node(archive, entry, name, keep)
    nodes.pop("/", None)
    return nodes


@contextmanager
def opened(stream: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    """The archive, whose list of entries is within the bounds. Raises SourceError as ``read`` does, also for what is
    found to be damaged while it is used."""
    packed_bytes = stream.seek(0, io.SEEK_END)
    bounded: Any = _Bounded(stream)
    try:
        with zipfile.ZipFile(bounded) as archive:
            _check(archive.infolist(), name, tarball.most_bytes(packed_bytes))
            yield archive
    except DAMAGED as error:
        raise SourceError(f"{name} is no zip archive, or a damaged one: {error}") from error
    except RuntimeError as error:  # of zipfile: a method or a password
        raise SourceError(f"{name} is refused: {error}") from error


@dataclass
class _Bounded:
    """An archive as a file of which so much is read at once."""

    stream: IO[bytes]

    def read(self, count: int = -1) -> bytes:
        """The next bytes. Raises ValueError for more than a list of entries has."""
        if count > MOST_DIRECTORY_BYTES:
            raise ValueError(f"its list of entries has {count:,} bytes")
        return self.stream.read(MOST_DIRECTORY_BYTES if count < 0 else count)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self.stream.tell()

    def seekable(self) -> bool:
        """As of any file."""
        return True


def _check(entries: list[zipfile.ZipInfo], name: str, most_bytes: int) -> None:
    names_bytes = sum(len(entry.filename) * (entry.filename.count("/") + 2) // 2 for entry in entries)
    if len(entries) > tarball.MOST_MEMBERS or names_bytes > tarball.MOST_NAMES_BYTES:
        raise SourceError(f"{name} is refused: it has more files, or longer names, than are taken")
    if sum(entry.file_size for entry in entries) > most_bytes:
        raise SourceError(f"{name} is refused: it unpacks to more than {most_bytes:,} bytes")
    for entry in entries:
        if len(entry.filename) > tarball.LONGEST_PATH_BYTES:
            longest = tarball.LONGEST_PATH_BYTES
            raise SourceError(f"{name} is refused: a path in it has more than {longest:,} characters")
        if entry.flag_bits & ENCRYPTED:
            raise SourceError(f"{name} is refused: {entry.filename[:200]!r} is encrypted")
        if entry.compress_type not in METHODS:
            raise SourceError(f"{name} is refused: {entry.filename[:200]!r} is packed by a method that is not taken")


def _node(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, keep: Keep) -> Node:
    st_mode = entry.external_attr >> 16 if entry.create_system == UNIX else 0
    mode, kind = stat.S_IMODE(st_mode), stat.S_IFMT(st_mode)
    if entry.is_dir():
        return directory(mode=mode or 0o755)
    if kind == stat.S_IFLNK:
        target = archive.read(entry).decode(errors="surrogateescape") if _is_target(entry) else ""
        if not target or "\0" in target:
            raise SourceError(f"{name} is refused: {entry.filename[:200]!r} is a link to nothing that there can be")
        return symlink(target)
    if kind not in (0, stat.S_IFREG):
        raise SourceError(f"{name} is refused: {entry.filename[:200]!r} is of a kind that is not taken")
    return file(content(archive, entry, keep), mode=mode or 0o644)


def _is_target(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size <= tarball.LONGEST_TARGET_BYTES


def content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, keep: Keep) -> Blob:
    """What is in an entry, of which length and checksum are the archive's."""
    with archive.open(entry) as packed:
        if entry.file_size <= tarball.LARGE_BYTES:
            data = packed.read(entry.file_size + 1)
            _whole(entry, len(data))
            return keep(data)
        with NamedTemporaryFile(prefix="imagebuilder-") as large:
            try:
                shutil.copyfileobj(packed, large, 1 << 20)
                large.flush()
            except OSError as error:
                raise OutputError(f"{large.name} cannot be written: {error.strerror}") from error
            _whole(entry, large.tell())
            return keep(Path(large.name))


def _whole(entry: zipfile.ZipInfo, size_bytes: int) -> None:
    if size_bytes != entry.file_size:
        raise EOFError(f"{entry.filename[:200]!r} is cut off")
