"""A Debian package as nodes: deb(5), an ``ar`` archive whose member ``data.tar.*`` holds the files, ``control.tar.*``
the control files.

Read straight from the stream: no maintainer script runs, and nothing is written but contents into the store. What a
package can make us read and keep is bounded (``MOST_…``), whatever it says of itself.
"""

import errno
import gzip
import io
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO, Any, Self

import zstandard

from imagebuilder.errors import OutputError, SourceError
from imagebuilder.tree import Blob, Kind, Node, Xattrs

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, end 2; padded to even offsets (deb(5), ar(5))
OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    "": lambda stream: stream,
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lzma.LZMAFile,
    ".zst": lambda stream: zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW_BYTES).stream_reader(
        stream, read_across_frames=True
    ),
}
KINDS: Mapping[bytes, Kind] = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}
# What the readers of damaged archives raise, each in its own words.
DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, zstandard.ZstdError, EOFError, OSError, ValueError, IndexError)

# A package's files together: of Debian's packages those that compress best have 20 times their size.
MOST_FOLD, MOST_BYTES_BESIDE, MOST_BYTES = 100, 64 << 20, 16 << 30
MOST_WINDOW_BYTES = 128 << 20  # of zstd; --ultra -22 has as much
MOST_MEMBERS = 200_000
MOST_HEADER_BYTES = 1 << 20  # of one further header: a long name, extended attributes
MOST_NAMES_BYTES = 32 << 20  # names, the folders above them, links and extended attributes of all members together
LONGEST_PATH_BYTES = 4096  # PATH_MAX of Linux
LARGE_BYTES = 16 << 20  # a file above it goes over the disk, not through the memory
FURTHER_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)

Keep = Callable[[bytes | Path], Blob]
Members = Generator[tuple[tarfile.TarInfo, tarfile.TarFile], None, None]
# Control files that are read, and how much of one: no real one is longer.
CONTROL = ("postinst", "templates")
LONGEST_CONTROL_BYTES = 1 << 19
MOST_ID = 2**32 - 1  # of 32 bits; the highest means none
MOST_TIME_S = 2**33  # what the formats of images hold at least
XATTR = "SCHILY.xattr."  # how pax archives hold extended attributes


def unpack(path: Path, keep: Keep) -> dict[str, Node]:
    """The nodes of a package's files by absolute path; ``keep`` takes each content, a large one as a file that is gone
    afterwards.

    Raises SourceError for a file that is no package, is damaged, has members that would be written elsewhere, or is
    more than the bounds.
    """
    with path.open("rb") as stream:
        return read(stream, path.name, keep)


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
                    found[file_name] = _content(member, archive).decode(errors="surrogateescape")
    except DAMAGED as error:
        raise SourceError(f"{name} is no Debian package, or a damaged one: {error}") from error
    return found


def read(stream: IO[bytes], name: str, keep: Keep) -> dict[str, Node]:
    """As ``unpack``, from a stream; ``name`` is what errors call it."""
    nodes: dict[str, Node] = {}
    folders: set[str] = set()
    try:
        with closing(_members(stream, "data.tar", name)) as members:
            for member, archive in members:
                where = _inside(member, nodes, folders, name)
                nodes[where] = _node(member, archive, nodes, name, keep)
    except DAMAGED as error:
        raise SourceError(f"{name} is no Debian package, or a damaged one: {error}") from error
    nodes.pop("/", None)
    return nodes


class _Header(tarfile.TarInfo):
    """A member's header; tarfile reads further ones into the memory whatever their size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As ever. Raises ReadError for a further header that no package has."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in FURTHER_HEADERS and header.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


@dataclass
class _Bounded:
    """What is unpacked, as a stream that ends with a sentence where it is too much."""

    stream: IO[bytes]
    name: str
    most_bytes: int
    read_bytes: int = 0

    def read(self, count: int) -> bytes:
        """The next bytes."""
        data = self.stream.read(count)
        self.read_bytes += len(data)
        if self.read_bytes > self.most_bytes:
            raise SourceError(f"{self.name} is refused: it unpacks to more than {self.most_bytes:,} bytes")
        return data


def _members(stream: IO[bytes], wanted: str, name: str) -> Members:
    """The members of this tar archive in a package, one after the other. Raises SourceError where it is too much."""
    size_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    most_bytes = min(MOST_BYTES_BESIDE + MOST_FOLD * size_bytes, MOST_BYTES)
    bounded: Any = _Bounded(_member(stream, wanted), name, most_bytes)
    count = names_bytes = 0
    with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Header) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            count += 1
            names_bytes += _names_bytes(member)
            if max(map(len, (member.name, member.linkname))) > LONGEST_PATH_BYTES:
                raise SourceError(f"{name} is refused: a path in it has more than {LONGEST_PATH_BYTES:,} characters")
            if count > MOST_MEMBERS or names_bytes > MOST_NAMES_BYTES:
                raise SourceError(f"{name} is refused: it has more files, or longer names, than any package")
            if member.issparse():
                raise SourceError(f"{name} is refused: {member.name[:200]!r} is sparse, which packages do not have")
            yield member, archive


def _names_bytes(member: tarfile.TarInfo) -> int:
    """What is kept of a member besides its content, at most: the paths of the folders above it are, too."""
    parts = member.name.count("/") + 1
    return len(member.name) * (parts + 1) // 2 + len(member.linkname) + sum(map(len, member.pax_headers.values()))


def _member(stream: IO[bytes], wanted: str) -> IO[bytes]:
    """The tar archive of this name (``data.tar``, ``control.tar``) in a package, at its beginning."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ValueError("it does not begin as one")
    while header := stream.read(HEADER_BYTES):
        member = header[:16].decode("ascii").rstrip(" /")
        size_bytes = int(header[48:58])
        suffix = member.removeprefix(wanted)
        if member.startswith(wanted) and suffix in OPENERS:
            data: IO[bytes] = OPENERS[suffix](stream)
            return data
        if size_bytes < 0 or not header.endswith(b"`\n"):
            raise ValueError("a member's header is wrong")
        stream.seek(size_bytes + size_bytes % 2, io.SEEK_CUR)
    raise ValueError(f"it has no {wanted}")


def _inside(member: tarfile.TarInfo, nodes: Mapping[str, Node], folders: set[str], name: str) -> str:
    """The absolute path of a member in the image; refused when unpacking it would write elsewhere, or take the place
    of one of the ``folders`` of the members before, to which its own are added."""
    parts = PurePosixPath(member.name).parts
    where = "/" + "/".join(parts)
    above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
    folders.update(above)
    behind = next((parent for parent in above if parent in nodes and nodes[parent].kind is not Kind.DIRECTORY), None)
    covers = not member.isdir() and where in folders
    if member.name.startswith("/") or ".." in parts or "\0" in member.name or behind or covers:
        raise SourceError(
            f"{name} is refused: its member {member.name!r} would be written outside its place in the image"
        )
    return where


def _node(member: tarfile.TarInfo, archive: tarfile.TarFile, nodes: Mapping[str, Node], name: str, keep: Keep) -> Node:
    if member.islnk():
        original = nodes.get("/" + "/".join(PurePosixPath(member.linkname).parts))
        if original is None or original.kind is not Kind.FILE:
            raise SourceError(f"{name} is refused: {member.name!r} is a hard link to {member.linkname!r}, not in it")
        return original
    if member.type not in KINDS:
        raise SourceError(f"{name} is refused: {member.name!r} is of a kind that packages do not have")
    kind = KINDS[member.type]
    if not all(0 <= number < MOST_ID for number in (member.uid, member.gid)) or not abs(member.mtime) < MOST_TIME_S:
        raise SourceError(f"{name} is refused: {member.name!r} has an owner or a time that no file can have")
    node = Node(kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), xattrs=_xattrs(member))
    if kind is Kind.FILE:
        return replace(node, content=_kept(member, archive, keep))
    if kind is Kind.SYMLINK:
        return replace(node, mode=0o777, target=member.linkname)
    return replace(node, device=(member.devmajor, member.devminor)) if kind in (Kind.CHARACTER, Kind.BLOCK) else node


def _xattrs(member: tarfile.TarInfo) -> Xattrs:
    named = ((key.removeprefix(XATTR), value) for key, value in member.pax_headers.items() if key.startswith(XATTR))
    return tuple(sorted((key, value.encode(errors="surrogateescape")) for key, value in named))


def _kept(member: tarfile.TarInfo, archive: tarfile.TarFile, keep: Keep) -> Blob:
    if member.size <= LARGE_BYTES:
        return keep(_content(member, archive))
    stream = archive.extractfile(member)
    assert stream is not None
    with NamedTemporaryFile(prefix="imagebuilder-") as large:
        try:
            shutil.copyfileobj(stream, large, 1 << 20)
            large.flush()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(f"{large.name} cannot be written: {error.strerror}") from error
            raise
        if large.tell() != member.size:
            raise EOFError(f"{member.name} is cut off")
        return keep(Path(large.name))


def _content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) != member.size:
        raise EOFError(f"{member.name} is cut off")
    return content
