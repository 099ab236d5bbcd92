"""The size of an image: what a user would store or send, its bundle packed with ``tar`` and ``zstd -19``.

Kernel, root and the other files are each packed alone (one after the other they still are one archive), so that the
sizes of the parts add up to the whole, and a part is packed once, whatever else changes. A large file is packed in
pieces: as many at a time as there are processors, and the same bytes with one as with many.
"""

import asyncio
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import zstandard

from imagebuilder.bundle import Bundle, Image
from imagebuilder.events import Progress, Say, Unit, silent, step
from imagebuilder.store import Store, key_of, sha256_file

LEVEL = 19
PIECE_BYTES = 32 << 20  # four times as far as zstd -19 looks back: 100 MB come to 0.4 % more than in one piece
CHUNK_BYTES = 64 << 10  # milliseconds of work for the compressor
SECTOR_BYTES = 512  # what st_blocks counts (stat(2))
REST, COMPRESSED = "file_system", "compressed"
# The kind of a group of files (the last word of its name, see closure/groups.py) -> to which part its bytes belong.
PARTS: Mapping[str, str] = {
    "init": "init",
    "program": "application",
    "python": "application",
    "library": "libraries",
    "kernel module": "kernel",
}
REVISION = 2  # to be raised when the same files give another figure


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes as shipped: those of the kernel, of the root and of the other files."""

    kernel_bytes: int
    root_bytes: int
    rest_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.kernel_bytes + self.root_bytes + self.rest_bytes


class GivenUp(Exception):
    """The result is no longer wanted."""


async def shipped_soon(bundle: Bundle, store: Store, *, say: Say = silent) -> Size:
    """As ``shipped``, beside other work; cancelled, it ends at once."""
    given_up = Event()
    try:
        return await asyncio.to_thread(shipped, bundle, store, say=say, given_up=given_up)
    finally:
        given_up.set()


def shipped(bundle: Bundle, store: Store, *, say: Say = silent, given_up: Event | None = None) -> Size:
    """Pack a bundle and count; the figures are remembered by the contents of its files. That takes a second for a
    megabyte: who is interrupted meanwhile, or sets ``given_up``, need not wait for the rest. Raises GivenUp."""
    files = {path: _key(path) for path in (bundle.kernel, bundle.root)}
    with ExitStack() as locks:
        for key in sorted(files.values()):
            locks.enter_context(store.lock(key))
        missing = [path for path, key in files.items() if store.record(key) is None]
        if missing:
            for path, count in _packed(bundle.image.name, missing, say, given_up or Event()).items():
                store.keep(files[path], {"bytes": count})
    found = known(bundle, store)
    assert found is not None
    return found


def promised(bundle: Bundle, store: Store, *, say: Say = silent) -> Size | None:
    """The size where the image's budget asks for it; else only when it is known, since packing may take minutes."""
    if bundle.image.budget.image_bytes is None:
        return known(bundle, store)
    return shipped(bundle, store, say=say)


def known(bundle: Bundle, store: Store) -> Size | None:
    """The size of a bundle as far as that takes no time: when its kernel and its root were packed before."""
    records = [store.record(_key(path)) for path in (bundle.kernel, bundle.root)]
    if None in records:
        return None
    kernel, root = (int(record["bytes"]) for record in records if record)
    rest = [path for path in bundle.files() if path not in (bundle.kernel, bundle.root)]
    archive = b"".join(chunk for path in rest for piece in pieces(path) for chunk in piece.chunks())
    return Size(kernel, root, len(zstandard.ZstdCompressor(level=LEVEL).compress(archive + bytes(2 * SECTOR_BYTES))))


def contents(image: Image) -> dict[str, int]:
    """Where the bytes of kernel and root went, as they are in the image (that is, before ``zstd``).

    ``kernel`` with its modules, ``init``, ``application`` (programs and scripts), ``libraries``, ``data`` (all other
    files), and ``file_system``: folders, names and gaps of the root. They add up to the two files; where a root is
    compressed, and so smaller than what is in it, ``compressed`` is by how much they come to more.
    """
    parts = dict.fromkeys(("kernel", "init", "application", "libraries", "data"), 0)
    for line in image.contents:
        if line.kept:
            parts[PARTS.get(line.name.rpartition(": ")[2], "data")] += line.bytes
    in_root = sum(parts.values())
    rest = image.root.bytes - in_root
    smaller = {COMPRESSED: -rest} if rest < 0 else {}
    return {**parts, "kernel": parts["kernel"] + image.kernel.bytes, REST: max(0, rest), **smaller}


def allocated_bytes(bundle: Bundle) -> int:
    """What the bundle's files take on this disk, by whole blocks and without holes."""
    return sum(path.stat().st_blocks for path in bundle.files()) * SECTOR_BYTES


def _key(path: Path) -> str:
    return key_of(["shipped", REVISION, LEVEL, zstandard.ZSTD_VERSION, path.name, sha256_file(path)])


def _packed(name: str, paths: Sequence[Path], say: Say, given_up: Event) -> dict[Path, int]:
    """How many bytes each of these files comes to."""
    work = [piece for path in paths for piece in pieces(path)]
    total = sum(piece.size_bytes for piece in work)
    title = f"pack {name} as it would be sent"
    with (
        step(say, f"size {name}", title, total=total, unit=Unit.BYTES),
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        count = Count(f"size {name}", total, say, given_up)
        try:
            sizes = list(pool.map(lambda piece: compressed_bytes(piece, count), work))
        except BaseException:
            given_up.set()
            raise
    found = dict.fromkeys(paths, 0)
    for piece, size in zip(work, sizes, strict=True):
        found[piece.path] += size
    return found


def compressed_bytes(piece: "Piece", count: "Count") -> int:
    """How many bytes ``zstd -19`` makes of a piece; by one thread, so that it is the same everywhere. Raises
    GivenUp."""
    compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    size = 0
    for chunk in piece.chunks():
        size += len(compressor.compress(chunk))
        count.add(len(chunk))
    return size + len(compressor.flush())


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a file's entry in an archive: ``before`` is its header, ``after`` what fills its last block."""

    path: Path
    offset: int
    length: int
    before: bytes
    after: bytes

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return len(self.before) + self.length + len(self.after)

    def chunks(self) -> Iterator[bytes]:
        """Its content."""
        yield self.before
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            left = self.length
            while chunk := stream.read(min(CHUNK_BYTES, left)):
                yield chunk
                left -= len(chunk)
        yield self.after


def pieces(path: Path) -> list[Piece]:
    """A file as it stands in an archive; neither its time nor its mode counts."""
    entry = tarfile.TarInfo(path.name)
    entry.size = path.stat().st_size
    header = entry.tobuf(tarfile.PAX_FORMAT)
    offsets = range(0, max(entry.size, 1), PIECE_BYTES)
    return [
        Piece(
            path,
            offset,
            min(PIECE_BYTES, entry.size - offset),
            header if offset == 0 else b"",
            bytes(-entry.size % tarfile.BLOCKSIZE) if offset == offsets[-1] else b"",
        )
        for offset in offsets
    ]


@dataclass(slots=True)
class Count:
    """How much of it is packed, by all threads."""

    step: str
    total: int
    say: Say
    given_up: Event
    done: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, size: int) -> None:
        """So many bytes more. Raises GivenUp."""
        if self.given_up.is_set():
            raise GivenUp
        with self.lock:
            self.done += size
            self.say(Progress(self.step, self.done, self.total))
