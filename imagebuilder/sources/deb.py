"""A Debian package as nodes: deb(5), an ``ar`` archive whose member ``data.tar.*`` holds the files, ``control.tar.*``
the control files.

Read straight from the stream: no maintainer script runs, and nothing is written but contents into the store, within
the bounds of ``tarball.py``.
"""

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.tarball import DAMAGED, OPENERS, Keep, Members
from imagebuilder.tree import Node

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, end 2; padded to even offsets (deb(5), ar(5))

# Control files that are read, and how much of one: no real one is longer.
CONTROL = ("postinst", "templates")
LONGEST_CONTROL_BYTES = 1 << 19


def unpack(path: Path, keep: Keep) -> dict[str, Node]:
    """The nodes of a package's files by absolute path; ``keep`` takes each content, a large one as a file that is gone
    afterwards.

    Raises SourceError for a file that is no package, is damaged, has members that would be written elsewhere, or is
    more than the bounds.
    """
    with path.open("rb") as stream:
        return read(stream, path.name, keep)


def extract(path: Path, inside: str, target: Path) -> None:
    """Write one file of a package, by its absolute path in it. Raises SourceError as ``unpack``, and when the package
    has no such file."""
    try:
        with path.open("rb") as stream, closing(_members(stream, "data.tar", path.name)) as members:
            for member, archive in members:
                if member.isreg() and str(PurePosixPath("/", member.name)) == inside:
                    with target.open("wb") as file:
                        tarball.write(member, archive, file)
                    return
    except DAMAGED as error:
        raise SourceError(f"{path.name} is no Debian package, or a damaged one: {error}") from error
    raise SourceError(f"{path.name} has no {inside}")


def control(path: Path) -> dict[str, str]:
    """The control files that count here (``CONTROL``) as texts. Raises SourceError for a package that is damaged."""
    with path.open("rb") as stream:
        return read_control(stream, path.name)


def read_control(stream: IO[bytes], name: str) -> dict[str, str]:
    """As ``control``, from a stream."""
    found: dict[str, str] = {}
    try:
        with closing(_members(stream, "control.tar", name)) as members:
            for member, archive in members:
                file_name = member.name.removeprefix("./")
                if file_name in CONTROL and member.isreg() and member.size <= LONGEST_CONTROL_BYTES:
                    found[file_name] = tarball.content(member, archive).decode(errors="surrogateescape")
    except DAMAGED as error:
        raise SourceError(f"{name} is no Debian package, or a damaged one: {error}") from error
    return found


def read(stream: IO[bytes], name: str, keep: Keep) -> dict[str, Node]:
    """As ``unpack``, from a stream; ``name`` is what errors call it."""
    try:
        with closing(_members(stream, "data.tar", name)) as members:
            return tarball.nodes_of(members, name, keep)
    except DAMAGED as error:
        raise SourceError(f"{name} is no Debian package, or a damaged one: {error}") from error


@dataclass
class _Slice:
    """So many bytes of a stream, as a stream."""

    stream: IO[bytes]
    left_bytes: int

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        data = self.stream.read(min(count, self.left_bytes) if count >= 0 else self.left_bytes)
        self.left_bytes -= len(data)
        return data


def _members(stream: IO[bytes], wanted: str, name: str) -> Members:
    """The members of this tar archive in a package. Raises SourceError where it is too much."""
    packed_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return tarball.members(_member(stream, wanted), name, tarball.most_bytes(packed_bytes))


def _member(stream: IO[bytes], wanted: str) -> IO[bytes]:
    """The tar archive of this name (``data.tar``, ``control.tar``) in a package, at its beginning."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as one")
    while header := stream.read(HEADER_BYTES):
        member = header[:16].decode("ascii").rstrip(" /")
        size_bytes = int(header[48:58])
        suffix = member.removeprefix(wanted)
        if size_bytes < 0 or not header.endswith(b"`\n"):
            raise ValueError("a member's header is wrong")
        if member.startswith(wanted) and suffix in OPENERS:
            part: Any = _Slice(stream, size_bytes)
            data: IO[bytes] = OPENERS[suffix](part)
            return data
        stream.seek(size_bytes + size_bytes % 2, io.SEEK_CUR)
    raise ValueError(f"it has no {wanted}")
