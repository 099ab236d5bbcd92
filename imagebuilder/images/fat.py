"""A FAT16 file system with one file, all in one piece: what UEFI reads a disk's first program from.

Pure: everything before the file's content, as bytes (Microsoft's "FAT: General Overview of On-Disk Format", 1.03, and
ECMA-107). Names are short ones (8.3), no time is written. A volume has as many clusters as FAT16 has at least, or as
the file takes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from imagebuilder.errors import InputError

SECTOR_BYTES = 512
FEWEST_CLUSTERS, MOST_CLUSTERS = 4085, 65524  # with fewer it would be FAT12, with more FAT32
MOST_CLUSTER_SECTORS = 64
COPIES = 2  # of the table
ROOT_ENTRIES = SECTOR_BYTES // 32
FIRST_CLUSTER = 2
BOOT_SECTOR = struct.Struct("<3s8sHBHBHHBHHHIIBBBI11s8s")
ENTRY = struct.Struct("<11sBBBHHHHHHHI")
JUMP = b"\xeb\x3c\x90"
FIXED_DISK, EXTENDED, FOLDER, FIRST_DAY = 0xF8, 0x29, 0x10, 0x21  # the first day that there is, 1980-01-01
END = 0xFFFF  # of a chain of clusters


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume with one file. ``aligned_sectors``: the file's content begins at a multiple of these."""

    path: PurePosixPath
    size_bytes: int
    cluster_sectors: int
    reserved_sectors: int
    number: int
    hidden_sectors: int
    """How many there are before it on the disk."""

    @classmethod
    def of(
        cls, path: PurePosixPath, size_bytes: int, *, number: int, hidden_sectors: int, aligned_sectors: int = 1
    ) -> "Volume":
        """With a file of so many bytes. Raises InputError for one that is too large."""
        sizes = [1 << exponent for exponent in range(MOST_CLUSTER_SECTORS.bit_length())]
        rows = [cls(path, size_bytes, sectors, 1, number, hidden_sectors) for sectors in sizes]
        found = next((row for row in reversed(rows) if row._used_clusters >= FEWEST_CLUSTERS), rows[0])
        if found._used_clusters > MOST_CLUSTERS:
            raise InputError(
                f"what UEFI starts would have {size_bytes:,} bytes, and a FAT16 has no room for it",
                hint='root.format = "erofs" makes it a disk',
            )
        return replace(found, reserved_sectors=1 + -found.file_sector % aligned_sectors)

    @property
    def _folders(self) -> Sequence[str]:
        return self.path.parts[:-1]

    @property
    def _file_clusters(self) -> int:
        return -(-self.size_bytes // (self.cluster_sectors * SECTOR_BYTES))

    @property
    def _used_clusters(self) -> int:
        return len(self._folders) + self._file_clusters

    @property
    def _clusters(self) -> int:
        return max(self._used_clusters, FEWEST_CLUSTERS)

    @property
    def _table_sectors(self) -> int:
        return -(-(self._clusters + FIRST_CLUSTER) * 2 // SECTOR_BYTES)

    @property
    def _data_sector(self) -> int:
        return self.reserved_sectors + COPIES * self._table_sectors + 1  # one of the root folder

    @property
    def file_sector(self) -> int:
        """Where the file's content begins."""
        return self._data_sector + len(self._folders) * self.cluster_sectors

    @property
    def sectors(self) -> int:
        """How many it has."""
        return self._data_sector + self._clusters * self.cluster_sectors

    @property
    def head(self) -> bytes:
        """All before the file's content."""
        cluster_bytes = self.cluster_sectors * SECTOR_BYTES
        root = _entry(self.path.parts[0], FIRST_CLUSTER, None if self._folders else self.size_bytes)
        head = self._boot_sector.ljust(self.reserved_sectors * SECTOR_BYTES, b"\0")
        head += COPIES * self._table.ljust(self._table_sectors * SECTOR_BYTES, b"\0") + root.ljust(SECTOR_BYTES, b"\0")
        for depth, inner in enumerate(self.path.parts[1:], 1):
            is_file = depth == len(self._folders)
            own, parent = FIRST_CLUSTER + depth - 1, 0 if depth == 1 else FIRST_CLUSTER + depth - 2
            folder = _entry(".", own) + _entry("..", parent)
            folder += _entry(inner, own + 1, self.size_bytes if is_file else None)
            head += folder.ljust(cluster_bytes, b"\0")
        return head

    @property
    def _table(self) -> bytes:
        first = FIRST_CLUSTER + len(self._folders)
        chain = [*range(first + 1, first + self._file_clusters), END][: self._file_clusters]
        entries = (0xFF00 | FIXED_DISK, END, *(END for _ in self._folders), *chain)
        return struct.pack(f"<{len(entries)}H", *entries)

    @property
    def _boot_sector(self) -> bytes:
        small = self.sectors if self.sectors < 1 << 16 else 0
        geometry = (self._table_sectors, 63, 255, self.hidden_sectors, 0 if small else self.sectors)
        sector = BOOT_SECTOR.pack(
            *(JUMP, b"MSWIN4.1", SECTOR_BYTES, self.cluster_sectors, self.reserved_sectors, COPIES, ROOT_ENTRIES),
            *(small, FIXED_DISK, *geometry, 0x80, 0, EXTENDED, self.number, b"NO NAME    ", b"FAT16   "),
        )
        return sector.ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def _entry(name: str, cluster: int, size_bytes: int | None = None) -> bytes:
    """A line of a folder; without a size, a folder's."""
    stem, _, suffix = (name, "", "") if name.startswith(".") else name.partition(".")
    short = stem.upper().ljust(8).encode() + suffix.upper().ljust(3).encode()
    kind = FOLDER if size_bytes is None else 0
    first = 0 if size_bytes == 0 else cluster
    return ENTRY.pack(short, kind, 0, 0, 0, FIRST_DAY, FIRST_DAY, 0, 0, FIRST_DAY, first, size_bytes or 0)
