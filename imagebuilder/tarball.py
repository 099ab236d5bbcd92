"""tar archives as nodes: those inside of Debian's packages, and any others.

Read straight from the stream: nothing is written but contents into the store. What an archive can make us read and
keep is bounded (``MOST_…``), whatever it says of itself.
"""

import bz2
import errno
import gzip
import lzma
import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO, Any, Self

import zstandard

from imagebuilder import xz
from imagebuilder.errors import OutputError, SourceError
from imagebuilder.tree import MOST_FOLDERS, Blob, Kind, Node, Xattrs, encoded

OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    "": lambda stream: stream,
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": xz.stream,
    ".bz2": lambda stream: bz2.BZ2File(stream),
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

# An archive's files together: of Debian's packages those that compress best have 20 times their size.
MOST_FOLD, MOST_BYTES_BESIDE, MOST_BYTES = 100, 64 << 20, 16 << 30
MOST_WINDOW_BYTES = 128 << 20  # of zstd; --ultra -22 has as much
MOST_MEMBERS = 200_000
MOST_PLACES = 20_000
MOST_HEADER_BYTES = 1 << 20  # of one further header: a long name, extended attributes
MOST_NAMES_BYTES = 32 << 20  # names, the folders above them, links and extended attributes of all members together
MOST_HEADERS_BYTES = 2 << 20  # of one member: all headers before its content, the map of a sparse one among them
BUFFER_BYTES = 64 << 10
LONGEST_PATH_BYTES = 4096  # PATH_MAX of Linux
LONGEST_TARGET_BYTES = LONGEST_PATH_BYTES - 1  # of a symbolic link
LARGE_BYTES = 16 << 20  # a file above it goes over the disk, not through the memory
FURTHER_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)

Keep = Callable[[bytes | Path], Blob]
Place = tuple[int, int] | str
Members = Generator[tuple[tarfile.TarInfo, tarfile.TarFile], None, None]
MOST_ID = 2**32 - 1  # of 32 bits; the highest means none
MOST_DEVICE = (2**12, 2**20)  # Linux, include/linux/kdev_t.h
MOST_XATTR_NAME_BYTES, MOST_XATTR_BYTES = 255, 1 << 16  # Linux, include/uapi/linux/limits.h
MOST_TIME_S = 2**33  # what the formats of images hold at least
XATTR = "SCHILY.xattr."  # how pax archives hold extended attributes


def most_bytes(packed_bytes: int) -> int:
    """How much an archive of this size may unpack to."""
    return min(MOST_BYTES_BESIDE + MOST_FOLD * packed_bytes, MOST_BYTES)


def nodes_of(members: Iterable[tuple[tarfile.TarInfo, tarfile.TarFile]], name: str, keep: Keep) -> dict[str, Node]:
    """The nodes of an archive's members by absolute path; ``keep`` takes each content, a large one as a file that is
    gone afterwards. ``name`` is what errors call it.

    Raises SourceError for members that would be written elsewhere, or are of a kind that is not taken, and ``DAMAGED``.
    """
    nodes: dict[str, Node] = {}
    folders: set[str] = set()
    for member, archive in members:
        where = inside(member.name, member.isdir(), nodes, folders, name)
        nodes[where] = _node(member, archive, nodes, name, keep)
    nodes.pop("/", None)
    return nodes


class _Header(tarfile.TarInfo):
    """A member's header; tarfile reads further ones into the memory whatever their size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As ever. Raises ReadError for a further header that no package has, and for one that is damaged, which
        tarfile takes for the end of the archive."""
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from None
        if header.type in FURTHER_HEADERS and header.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """As ever. Raises ReadError where one further header follows another without an end."""
        try:
            return super().fromtarfile(archive)
        except RecursionError:
            raise tarfile.ReadError("a member has too many headers") from None


@dataclass
class _Bounded:
    """What is unpacked, as a stream that ends with a sentence where it is too much."""

    stream: IO[bytes]
    name: str
    most_bytes: int
    read_bytes: int = 0
    most_of_headers: int | None = None

    def read(self, count: int) -> bytes:
        """The next bytes."""
        data = self.stream.read(count)
        self.read_bytes += len(data)
        if self.most_of_headers is not None and self.read_bytes > self.most_of_headers:
            raise tarfile.ReadError("a member's headers are too long")
        if self.read_bytes > self.most_bytes:
            raise SourceError(f"{self.name} is refused: it unpacks to more than {self.most_bytes:,} bytes")
        return data


def members(stream: IO[bytes], name: str, most_bytes: int, *, sparse: bool = False) -> Members:
    """The members of an unpacked tar archive, one after the other; those that are ``sparse`` only for who asks for
    them, and then reads the content of each. Behind the last one padding may be missing: `umoci insert` 0.4.7 writes
    such layers, and Go's archive/tar takes them. Raises SourceError where it is too much."""
    bounded: Any = _Bounded(stream, name, most_bytes, most_of_headers=MOST_HEADERS_BYTES if sparse else None)
    count = names_bytes = sparse_bytes = 0
    member: tarfile.TarInfo | None = None
    with tarfile.open(fileobj=bounded, mode="r|", bufsize=BUFFER_BYTES, tarinfo=_Header) as archive:
        while True:
            try:
                member = archive.next()  # the first one was read when it was opened
            except tarfile.ReadError:
                if member is None or not _lacks_padding_alone(member, archive, bounded.read_bytes):
                    raise
                return
            bounded.most_of_headers = None
            if member is None:
                return
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            count += 1
            names_bytes += _names_bytes(member)
            if max(map(len, (member.name, member.linkname))) > LONGEST_PATH_BYTES:
                raise SourceError(f"{name} is refused: a path in it has more than {LONGEST_PATH_BYTES:,} characters")
            if member.name.count("/") > MOST_FOLDERS:
                raise SourceError(f"{name} is refused: a path in it leads through more than {MOST_FOLDERS} folders")
            if count > MOST_MEMBERS or names_bytes > MOST_NAMES_BYTES:
                raise SourceError(f"{name} is refused: it has more files, or longer names, than are taken")
            if member.issparse() and not sparse:
                raise SourceError(f"{name} is refused: {member.name[:200]!r} is sparse, which is not taken")
            sparse_bytes += abs(member.size) if member.issparse() else 0
            if sparse_bytes > most_bytes:
                raise SourceError(f"{name} is refused: it unpacks to more than {most_bytes:,} bytes")
            yield member, archive
            bounded.most_of_headers = bounded.read_bytes + MOST_HEADERS_BYTES if sparse else None


def _lacks_padding_alone(last: tarfile.TarInfo, archive: tarfile.TarFile, read_bytes: int) -> bool:
    """Whether the stream ends behind the content of the last member, before a multiple of 512 bytes."""
    parts: Any = last.sparse  # what of a sparse file is there: offset and size
    size = last.size if parts is None else sum(size for _, size in parts)
    end: int = archive.offset
    return end - -size % tarfile.BLOCKSIZE <= read_bytes < end


def places(stream: IO[bytes], name: str) -> Iterator[tuple[str, Place]]:
    """Where in an archive that is not packed the contents of its files are, by their names; of links what they lead to,
    as a path of the archive. Raises SourceError for more members than are taken, and ``DAMAGED``."""
    names_bytes = 0
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive:
        for count in range(MOST_PLACES + 1):
            member = archive.next()
            if member is None:
                return
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            names_bytes += _names_bytes(member)
            if count == MOST_PLACES or names_bytes > MOST_NAMES_BYTES:
                raise SourceError(f"{name} is refused: it has more files, or longer names, than are taken")
            if member.isreg() and not member.issparse():
                yield member.name, (member.offset_data, member.size)
            elif member.issym():
                yield member.name, posixpath.join(posixpath.dirname(member.name), member.linkname)
            elif member.islnk():
                yield member.name, member.linkname


def _names_bytes(member: tarfile.TarInfo) -> int:
    """What is kept of a member besides its content, at most: the paths of the folders above it are, too."""
    parts = member.name.count("/") + 1
    headers = sum(len(key) + len(value) for key, value in member.pax_headers.items())
    return len(member.name) * (parts + 1) // 2 + len(member.linkname) + headers


def inside(path: str, is_folder: bool, nodes: Mapping[str, Node], folders: set[str], name: str) -> str:
    """The absolute path in the image of a member of this path; refused when unpacking it would write elsewhere, or take
    the place of one of the ``folders`` of the members before, to which its own are added."""
    parts = PurePosixPath(path).parts
    where = "/" + "/".join(parts)
    above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
    folders.update(above)
    behind = next((parent for parent in above if parent in nodes and nodes[parent].kind is not Kind.DIRECTORY), None)
    covers = not is_folder and where in folders
    if path.startswith("/") or ".." in parts or "\0" in path or behind or covers:
        raise SourceError(f"{name} is refused: its member {path!r} would be written outside its place in the image")
    return where


def _node(member: tarfile.TarInfo, archive: tarfile.TarFile, nodes: Mapping[str, Node], name: str, keep: Keep) -> Node:
    if member.islnk():
        original = nodes.get("/" + "/".join(PurePosixPath(member.linkname).parts))
        if original is None or original.kind is not Kind.FILE:
            raise SourceError(f"{name} is refused: {member.name!r} is a hard link to {member.linkname!r}, not in it")
        return original
    return node_of(member, name, lambda: _kept(member, archive, keep))


def node_of(member: tarfile.TarInfo, name: str, content: Callable[[], Blob]) -> Node:
    """A member that is no hard link as a node; ``content`` gives that of a file. Raises SourceError."""
    if member.type not in KINDS:
        raise SourceError(f"{name} is refused: {member.name!r} is of a kind that is not taken")
    kind = KINDS[member.type]
    if not all(0 <= number < MOST_ID for number in (member.uid, member.gid)) or not abs(member.mtime) < MOST_TIME_S:
        raise SourceError(f"{name} is refused: {member.name!r} has an owner or a time that no file can have")
    node = Node(kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), xattrs=_xattrs(member, name))
    if kind is Kind.FILE:
        return replace(node, content=content())
    if kind is Kind.SYMLINK:
        if not 0 < len(encoded(member.linkname)) <= LONGEST_TARGET_BYTES or "\0" in member.linkname:
            raise SourceError(f"{name} is refused: {member.name!r} is a link to nothing that a path can be")
        return replace(node, mode=0o777, target=member.linkname)
    return replace(node, device=_device(member, name)) if kind in (Kind.CHARACTER, Kind.BLOCK) else node


def _device(member: tarfile.TarInfo, name: str) -> tuple[int, int]:
    device = (member.devmajor, member.devminor)
    if not all(0 <= number < most for number, most in zip(device, MOST_DEVICE, strict=True)):
        raise SourceError(f"{name} is refused: {member.name!r} is a device of a number that none has")
    return device


def _xattrs(member: tarfile.TarInfo, name: str) -> Xattrs:
    named = ((key.removeprefix(XATTR), value) for key, value in member.pax_headers.items() if key.startswith(XATTR))
    found = tuple(sorted((key, encoded(value)) for key, value in named))
    for key, value in found:
        fits = 0 < len(encoded(key)) <= MOST_XATTR_NAME_BYTES and len(value) <= MOST_XATTR_BYTES
        if not fits or "\0" in key:
            raise SourceError(f"{name} is refused: {member.name!r} has an extended attribute that no file can have")
    return found


def _kept(member: tarfile.TarInfo, archive: tarfile.TarFile, keep: Keep) -> Blob:
    if member.size <= LARGE_BYTES:
        return keep(content(member, archive))
    with NamedTemporaryFile(prefix="imagebuilder-") as large:
        write(member, archive, large)
        return keep(Path(large.name))


def write(member: tarfile.TarInfo, archive: tarfile.TarFile, file: Any) -> None:
    """A member's content into a file on the disk, piece by piece."""
    stream = archive.extractfile(member)
    assert stream is not None
    try:
        shutil.copyfileobj(stream, file, 1 << 20)
        file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{file.name} cannot be written: {error.strerror}") from error
        raise
    if file.tell() != member.size:
        raise EOFError(f"{member.name} is cut off")


def content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    """A member's content. Raises EOFError where it is cut off."""
    stream = archive.extractfile(member)
    data = stream.read() if stream else b""
    if len(data) != member.size:
        raise EOFError(f"{member.name} is cut off")
    return data
