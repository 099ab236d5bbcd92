"""The size of an image: what a user would store or send, its bundle packed with ``tar`` and ``zstd -19``."""

import asyncio
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, cast

import zstandard

from imagebuilder.bundle import Bundle, Image
from imagebuilder.store import Store, key_of, sha256_file

LEVEL = 19
CHUNK_BYTES = 64 << 10  # milliseconds of work for the compressor
SECTOR_BYTES = 512  # what st_blocks counts (stat(2))
REST = "file_system"
# The kind of a group of files (the last word of its name, see closure/groups.py) -> to which part its bytes belong.
PARTS: Mapping[str, str] = {
    "init": "init",
    "program": "application",
    "python": "application",
    "library": "libraries",
    "kernel module": "kernel",
}
REVISION = 1  # to be raised when the same files give another figure


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes as shipped: all of it, and the kernel, the root and the other files each packed alone.

    The parts come to a little more or less than the total: packed together, files share what they have in common.
    """

    total_bytes: int
    kernel_bytes: int
    root_bytes: int
    rest_bytes: int


class GivenUp(Exception):
    """Nobody wants to know any more."""


async def shipped_soon(bundle: Bundle, store: Store) -> Size:
    """As ``shipped``, beside other work; cancelled, it ends at once."""
    given_up = Event()
    try:
        return await asyncio.to_thread(shipped, bundle, store, given_up)
    finally:
        given_up.set()


def shipped(bundle: Bundle, store: Store, given_up: Event | None = None) -> Size:
    """Pack a bundle and count; the figures are remembered by the contents of its files. That takes seconds: who is
    interrupted meanwhile, or sets ``given_up``, need not wait for the rest. Raises GivenUp."""
    stop = given_up or Event()
    files = bundle.files()
    rest = [path for path in files if path not in (bundle.kernel, bundle.root)]
    packed: tuple[tuple[Sequence[Path], Callable[[Counter], None]], ...] = (
        (files, lambda stream: _pack(files, stream)),
        ([bundle.kernel], lambda stream: _copy(bundle.kernel, stream)),
        ([bundle.root], lambda stream: _copy(bundle.root, stream)),
        (rest, lambda stream: _pack(rest, stream)),
    )
    with ThreadPoolExecutor() as pool:  # the compressor needs no Python while it works
        try:
            return Size(*pool.map(lambda task: _remembered(store, task[0], task[1], stop), packed))
        except BaseException:
            stop.set()
            raise


def contents(image: Image) -> dict[str, int]:
    """Where the bytes of kernel and root went, as they are in the image (that is, before ``zstd``).

    ``kernel`` with its modules, ``init``, ``application`` (programs and scripts), ``libraries``, ``data`` (all other
    files), and ``file_system``: folders, names and gaps of the root. They add up to the two files, except where a root
    is compressed: then it is smaller than what is in it, and ``file_system`` is 0.
    """
    parts = dict.fromkeys(("kernel", "init", "application", "libraries", "data"), 0)
    for line in image.contents:
        if line.kept:
            parts[PARTS.get(line.name.rpartition(": ")[2], "data")] += line.bytes
    in_root = sum(parts.values())
    return {**parts, "kernel": parts["kernel"] + image.kernel.bytes, REST: max(0, image.root.bytes - in_root)}


def allocated_bytes(bundle: Bundle) -> int:
    """What the bundle's files take on this disk, by whole blocks and without holes."""
    return sum(path.stat().st_blocks for path in bundle.files()) * SECTOR_BYTES


def _remembered(store: Store, files: Iterable[Path], write: Callable[["Counter"], None], stop: Event) -> int:
    described = [[path.name, sha256_file(path)] for path in files]
    key = key_of(["shipped", REVISION, LEVEL, zstandard.ZSTD_VERSION, described])
    with store.lock(key):
        record = store.record(key)
        if record is None:
            record = {"bytes": compressed_bytes(write, stop)}
            store.keep(key, record)
    return int(record["bytes"])


def compressed_bytes(write: Callable[["Counter"], None], stop: Event) -> int:
    """How many bytes ``zstd -19`` makes of what ``write`` writes; by one thread, so that it is the same everywhere.
    Raises GivenUp."""
    counter = Counter(stop)
    write(counter)
    return counter.finish()


class Counter:
    """A stream that compresses what is written to it, and keeps nothing but the count, until it is told to stop."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._count = 0

    def write(self, data: bytes) -> int:
        """Take some bytes. Raises GivenUp."""
        if self._stop.is_set():
            raise GivenUp
        self._count += len(self._compressor.compress(data))
        return len(data)

    def finish(self) -> int:
        """The count, when all is written."""
        return self._count + len(self._compressor.flush())


def _pack(files: Iterable[Path], stream: Counter) -> None:
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in files:
            entry = tarfile.TarInfo(path.name)
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


def _copy(path: Path, stream: Counter) -> None:
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            stream.write(chunk)
