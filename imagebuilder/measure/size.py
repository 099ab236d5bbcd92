"""The size of an image: what a user would store or send, its bundle packed with ``tar`` and ``zstd -19``."""

import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import zstandard

from imagebuilder.bundle import Bundle
from imagebuilder.store import Store, key_of, sha256_file

LEVEL = 19
REVISION = 1  # to be raised when the same files give another figure


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes as shipped: all of it, the kernel and the root each packed alone, and what the total has besides."""

    total_bytes: int
    kernel_bytes: int
    root_bytes: int

    @property
    def rest_bytes(self) -> int:
        """``image.json``, the command line and the archive's own."""
        return max(0, self.total_bytes - self.kernel_bytes - self.root_bytes)


def shipped(bundle: Bundle, store: Store) -> Size:
    """Pack a bundle and count; the figures are remembered by the contents of its files."""
    files = bundle.files()
    return Size(
        total_bytes=_remembered(store, files, lambda stream: _pack(files, stream)),
        kernel_bytes=_remembered(store, [bundle.kernel], lambda stream: _copy(bundle.kernel, stream)),
        root_bytes=_remembered(store, [bundle.root], lambda stream: _copy(bundle.root, stream)),
    )


def _remembered(store: Store, files: Iterable[Path], write: Callable[["Counter"], None]) -> int:
    described = [[path.name, sha256_file(path)] for path in files]
    key = key_of(["shipped", REVISION, LEVEL, zstandard.ZSTD_VERSION, described])
    with store.lock(key):
        record = store.record(key)
        if record is None:
            record = {"bytes": compressed_bytes(write)}
            store.keep(key, record)
    return int(record["bytes"])


def compressed_bytes(write: Callable[["Counter"], None]) -> int:
    """How many bytes ``zstd -19`` makes of what ``write`` writes; by one thread, so that it is the same everywhere."""
    counter = Counter()
    write(counter)
    return counter.finish()


class Counter:
    """A stream that compresses what is written to it, and keeps nothing but the count."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._count = 0

    def write(self, data: bytes) -> int:
        """Take some bytes."""
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
        while chunk := content.read(1 << 20):
            stream.write(chunk)
