"""A Debian package as nodes: deb(5), an ``ar`` archive whose member ``data.tar.*`` holds the files, ``control.tar.*``
the control files.

Read straight from the stream: no maintainer script runs, and nothing is written but contents into the store.
"""

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import zstandard

from imagebuilder.errors import SourceError
from imagebuilder.tree import Blob, Kind, Node, Xattrs

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, end 2; padded to even offsets (deb(5), ar(5))
OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    "": lambda stream: stream,
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lzma.LZMAFile,
    ".zst": lambda stream: zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True),
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

Keep = Callable[[bytes], Blob]
# Control files that are read, and how much of one: no real one is longer.
CONTROL = ("postinst", "templates")
LONGEST_CONTROL_BYTES = 1 << 19
XATTR = "SCHILY.xattr."  # how pax archives hold extended attributes


def unpack(path: Path, keep: Keep) -> dict[str, Node]:
    """The nodes of a package's files by absolute path; ``keep`` takes each content.

    Raises SourceError for a file that is no package, is damaged, or has members that would be written elsewhere.
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
        with tarfile.open(fileobj=_member(stream, "control.tar"), mode="r|") as archive:
            for member in archive:
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
        with tarfile.open(fileobj=_member(stream, "data.tar"), mode="r|") as archive:
            for member in archive:
                where = _inside(member, nodes, folders, name)
                nodes[where] = _node(member, archive, nodes, name, keep)
    except DAMAGED as error:
        raise SourceError(f"{name} is no Debian package, or a damaged one: {error}") from error
    nodes.pop("/", None)
    return nodes


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
    node = Node(kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), xattrs=_xattrs(member))
    if kind is Kind.FILE:
        return replace(node, content=keep(_content(member, archive)))
    if kind is Kind.SYMLINK:
        return replace(node, mode=0o777, target=member.linkname)
    return replace(node, device=(member.devmajor, member.devminor)) if kind in (Kind.CHARACTER, Kind.BLOCK) else node


def _xattrs(member: tarfile.TarInfo) -> Xattrs:
    named = ((key.removeprefix(XATTR), value) for key, value in member.pax_headers.items() if key.startswith(XATTR))
    return tuple(sorted((key, value.encode(errors="surrogateescape")) for key, value in named))


def _content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) != member.size:
        raise EOFError(f"{member.name} is cut off")
    return content
