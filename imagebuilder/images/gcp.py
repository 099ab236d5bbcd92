"""What Google's Compute Engine imports: ``disk.raw``, of whole GiB, in a tar of old GNU's format, gzip'd.

The disk's empty middle is no part of the archive: the member is a sparse one (GNU tar's manual, "Old GNU Format").
"""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from tarfile import BLOCKSIZE, GNU_FORMAT, TarInfo
from tempfile import TemporaryDirectory
from typing import BinaryIO

from imagebuilder.bundle import Bundle
from imagebuilder.filesystems.common import CHUNK_BYTES, replacing
from imagebuilder.images import disk
from imagebuilder.images.format import Artifact, Media
from imagebuilder.images.gpt import SECTOR_BYTES, TAIL_SECTORS

NAME = "gcp"
MEMBER = "disk.raw"
UNIT_BYTES = 1 << 30
SPARSE, CHECKSUM, TYPE = b"S", 148, 156
MAP, REAL_SIZE = 386, 483  # offsets in the header
MOST_PARTS = 4  # of a map that fits into the header
OCTAL = b"%011o\0"
LARGEST_OCTAL = 0o77777777777


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        raw = Path(folder) / MEMBER
        layout = disk.lay_down(bundle, raw, UNIT_BYTES)
        tail = (layout.end - TAIL_SECTORS) * SECTOR_BYTES
        parts = ((0, layout.used * SECTOR_BYTES), (tail, layout.end * SECTOR_BYTES))
        with (
            replacing(path) as temporary,
            raw.open("rb") as content,
            temporary.open("wb") as stream,
            gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=stream, mtime=0) as packed,
        ):
            packed.writelines(member(content, parts, epoch_s))
            packed.write(bytes(2 * BLOCKSIZE))
    return disk.artifact(bundle, path, NAME, UNIT_BYTES)


def member(content: BinaryIO, parts: Sequence[tuple[int, int]], epoch_s: int) -> Iterator[bytes]:
    """A sparse member: its header, and these parts (from, to) of the content, which are whole sectors."""
    info = TarInfo(MEMBER)
    info.size, info.mtime = sum(end - begin for begin, end in parts), min(max(epoch_s, 0), LARGEST_OCTAL)
    header = bytearray(info.tobuf(format=GNU_FORMAT))
    header[TYPE : TYPE + 1] = SPARSE
    begins = b"".join(OCTAL % number for begin, end in parts for number in (begin, end - begin))
    header[MAP : MAP + len(begins)] = begins
    header[REAL_SIZE : REAL_SIZE + 12] = OCTAL % parts[-1][1]
    header[CHECKSUM : CHECKSUM + 8] = b" " * 8
    header[CHECKSUM : CHECKSUM + 8] = b"%06o\0 " % sum(header)
    yield bytes(header)
    for begin, end in parts:
        content.seek(begin)
        for place in range(begin, end, CHUNK_BYTES):
            yield content.read(min(CHUNK_BYTES, end - place))


def media(made: Artifact) -> Media:
    """Nothing that QEMU reads: it is for an import."""
    return Media()
