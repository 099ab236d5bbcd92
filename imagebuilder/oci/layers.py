"""The layers of a container image, one laid over the other, as one tree.

Read straight from their streams: nothing is unpacked to the disk but contents into the store, by their hashes. What a
layer is packed with shows in its first bytes; what it unpacks to is checked against the image's configuration
(``diff_ids``). How much layers can make us read and keep is bounded, whatever they say of themselves.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import REGTYPE, TarFile, TarInfo
from typing import IO, Any

import zstandard

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.oci.content import Hash
from imagebuilder.oci.overlaid import Overlaid
from imagebuilder.tree import Blob, Kind, Node, Tree
from imagebuilder.words import counted, shortened

MOST_FILES = 150_000  # of all layers together; empty ones alone need some 1,200 bytes of memory each
CHUNK_BYTES = 256 << 10
GZIP, ZSTD, ZSTD_SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
HIDES, HIDES_FOLDER, OF_AUFS = ".wh.", ".wh..wh..opq", ".wh..wh."

Keep = Callable[[Iterable[bytes], int], Blob]
"""Takes a content in pieces, of so many bytes."""


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A layer as a file; ``diff_id`` is the digest of what it unpacks to, ``name`` what messages call it."""

    path: Path
    diff_id: str
    name: str


def applied(layers: Sequence[LayerFile], keep: Keep, seen: Callable[[int], None] = lambda _: None) -> Tree:
    """The tree of all layers, the first lowest; ``seen`` hears how many bytes of their files were read. Raises
    SourceError for layers that are damaged, too much, or would write outside of the image."""
    files = Overlaid()
    members = unpacked_bytes = 0
    # Together, too: the same layer a thousand times is no more to unpack than it is to download.
    most_bytes = tarball.most_bytes(sum(path.stat().st_size for path in {layer.path for layer in layers}))
    for number, layer in enumerate(layers, start=1):
        files.layer = number
        with layer.path.open("rb") as stream:
            packed = _Counted(stream, seen)
            left = MOST_FILES - members
            done = apply(packed, layer, files, keep, packed_bytes=layer.path.stat().st_size, most_files=left)
            members, unpacked_bytes = members + done[0], unpacked_bytes + done[1]
        if unpacked_bytes > most_bytes:
            raise SourceError(f"{layer.name} is refused: with those below it unpacks to more than {most_bytes:,} bytes")
    return files.tree()


def apply(
    stream: Any,
    layer: LayerFile,
    files: Overlaid,
    keep: Keep,
    *,
    packed_bytes: int,
    most_files: int = MOST_FILES,
) -> tuple[int, int]:
    """Lay one layer over the others; returns how many members it has, and to how many bytes it unpacks. Raises
    SourceError."""
    most_bytes = tarball.most_bytes(packed_bytes)
    count = 0
    try:
        unpacked: Any = Unpacked(stream, layer.diff_id)
        if not unpacked.is_empty:
            for member, archive in tarball.members(unpacked, layer.name, most_bytes, sparse=True):
                count += 1
                if count > most_files:
                    raise SourceError(f"it makes the image one of more than {counted(MOST_FILES, 'file')}")
                _lay(member, archive, layer.name, files, keep)
        unpacked.drain(most_bytes)
    except tarball.DAMAGED as error:
        raise SourceError(f"{layer.name} is damaged: {shortened(str(error))}") from error
    except SourceError as error:
        if layer.name in error.message:
            raise
        raise SourceError(f"{layer.name} is refused: {error.message}") from error
    unpacked.check(layer.name)
    return count, unpacked.size_bytes


class Unpacked:
    """What a layer unpacks to, as a stream whose digest is taken on the way."""

    def __init__(self, stream: Any, diff_id: str) -> None:
        self._chunks = _unpacked(stream)
        self._hash, self._diff_id = Hash(diff_id.partition(":")[0]), diff_id
        self._left = b""
        self._next()

    @property
    def size_bytes(self) -> int:
        """How many there were until now."""
        return self._hash.size_bytes

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all: a layer without files."""
        return not self._left

    def read(self, count: int = -1, /) -> bytes:
        """The next bytes; fewer than ``count`` only at the end."""
        parts: list[bytes] = []
        while count > 0 and self._left:
            part, self._left = self._left[:count], self._left[count:]
            parts.append(part)
            count -= len(part)
            if not self._left:
                self._next()
        return b"".join(parts)

    def drain(self, most_bytes: int) -> None:
        """Read what comes after the end of the archive. Raises SourceError where it is too much."""
        while self._left:
            if self._hash.size_bytes > most_bytes:
                raise SourceError(f"it unpacks to more than {most_bytes:,} bytes")
            self._next()

    def check(self, name: str) -> None:
        """Raises SourceError where it was something else than the configuration says."""
        if self._hash.digest != self._diff_id:
            raise SourceError(f"{name} is damaged: it unpacks to {self._hash.digest}, and {self._diff_id} is wanted")

    def _next(self) -> None:
        self._left = next(self._chunks, b"")
        self._hash.update(self._left)


def _lay(member: TarInfo, archive: TarFile, name: str, files: Overlaid, keep: Keep) -> None:
    path = _inside(member.name)
    folder, _, last = path.rpartition("/")
    if OF_AUFS in path and last != HIDES_FOLDER:
        return  # the bookkeeping of a file system that made the layer
    if f"/{HIDES}" in folder:
        raise SourceError(f"{shortened(member.name)!r} stands in a whiteout")
    if last == HIDES_FOLDER:
        files.hide_inside(folder)
    elif last.startswith(HIDES):
        files.hide(f"{folder}/{_hidden(last, member.name)}")
    elif member.islnk():
        files.put(path, _linked(member, files))
    else:
        member.type = REGTYPE if member.isreg() else member.type  # one that is sparse, or "contiguous", too
        files.put(path, tarball.node_of(member, name, lambda: _content(member, archive, keep)))


def _inside(name: str) -> str:
    """A member's path in the image. Raises SourceError for one that leaves it."""
    parts: list[str] = []
    for part in PurePosixPath(f"/{name}").parts[1:]:
        if part == ".." and not parts:
            raise SourceError(f"its member {shortened(name)!r} would be written outside of the image")
        parts = parts[:-1] if part == ".." else [*parts, part]
    if "\0" in name:
        raise SourceError(f"its member {shortened(name)!r} has a name that no file can have")
    return "/" + "/".join(parts)


def _hidden(last: str, name: str) -> str:
    """What a whiteout hides. Raises SourceError for nothing, or a folder above."""
    hidden = last.removeprefix(HIDES)
    if hidden in ("", ".", ".."):
        raise SourceError(f"its whiteout {shortened(name)!r} names no file")
    return hidden


def _linked(member: TarInfo, files: Overlaid) -> Node:
    """What a hard link is one of: also of a lower layer."""
    original = files.find(_inside(member.linkname))
    if original is None or original.kind is Kind.DIRECTORY:
        raise SourceError(f"{shortened(member.name)!r} is a hard link to {shortened(member.linkname)!r}, no file of it")
    return original


def _content(member: TarInfo, archive: TarFile, keep: Keep) -> Blob:
    stream = archive.extractfile(member)
    assert stream is not None
    blob = keep(iter(lambda: stream.read(CHUNK_BYTES), b""), member.size)
    if blob.size_bytes != member.size:
        raise EOFError(f"{member.name} is cut off")
    return blob


@dataclass
class _Counted:
    """A file that reports how much of it was read."""

    stream: IO[bytes]
    seen: Callable[[int], None]

    def read(self, count: int) -> bytes:
        """The next bytes."""
        data = self.stream.read(count)
        self.seen(len(data))
        return data


def _unpacked(stream: Any) -> Iterator[bytes]:
    """A layer's archive in pieces, of which none is empty."""
    first = stream.read(CHUNK_BYTES)
    if first.startswith(GZIP):
        return _gunzipped(_joined(first, stream))
    if first.startswith(ZSTD) or first[1:4] == ZSTD_SKIPPABLE:
        return _unzstd(first, stream)
    return _joined(first, stream)


def _joined(first: bytes, stream: Any) -> Iterator[bytes]:
    while first:
        yield first
        first = stream.read(CHUNK_BYTES)


def _gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """All members of a gzip file (RFC 1952), in pieces of a bounded size."""
    unzip = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data:
            if piece := unzip.decompress(data, 4 * CHUNK_BYTES):
                yield piece
            data = unzip.unconsumed_tail
            if unzip.eof and (data := unzip.unused_data.lstrip(b"\0")):  # zeros are padding
                unzip = zlib.decompressobj(wbits=31)
    while not unzip.eof and (piece := unzip.decompress(b"", 4 * CHUNK_BYTES)):
        yield piece
    if not unzip.eof:
        raise EOFError("it is cut off")


def _unzstd(first: bytes, stream: Any) -> Iterator[bytes]:
    packed: Any = _After(first, stream)
    context = zstandard.ZstdDecompressor(max_window_size=tarball.MOST_WINDOW_BYTES)
    reader = context.stream_reader(packed, read_across_frames=True)
    return iter(lambda: reader.read(4 * CHUNK_BYTES), b"")


@dataclass
class _After:
    """Bytes that were read already, and the rest of the stream."""

    first: bytes
    stream: Any

    def read(self, count: int) -> bytes:
        """The next bytes."""
        if self.first:
            data, self.first = self.first[:count], self.first[count:]
            return data
        return bytes(self.stream.read(count))
