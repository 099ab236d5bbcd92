"""A GUID partition table (UEFI 2.10, chapter 5.3) with its copy at the end of the disk, and the MBR that protects it.

Pure: what a disk has before its first partition and behind its last, as bytes. The same partitions give the same bytes.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SECTOR_BYTES = 512
ENTRIES, ENTRY_BYTES = 128, 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR_BYTES
HEAD_SECTORS = 2 + TABLE_SECTORS  # the MBR, the header, the table
TAIL_SECTORS = TABLE_SECTORS + 1
CODE_BYTES = 440  # of the MBR, for a boot loader
LONGEST_NAME = 36  # of a partition, in code units of UTF-16
SIGNATURE, REVISION, HEADER_BYTES = b"EFI PART", 0x10000, 92
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
MBR_ENTRY = struct.Struct("<B3sB3sII")
# A partition of type 0xEE over the whole disk, from the second sector to the last one that 32 bits can name.
PROTECTIVE, FIRST_CHS, LAST_CHS = 0xEE, b"\x00\x02\x00", b"\xff\xff\xff"
LARGEST_32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: what it is for (``kind``), its own number, its name, and where it lies, in sectors."""

    kind: UUID
    guid: UUID
    name: str
    first: int
    sectors: int

    @property
    def entry(self) -> bytes:
        """Its line of the table."""
        name = self.name.encode("utf-16-le")
        return ENTRY.pack(self.kind.bytes_le, self.guid.bytes_le, self.first, self.first + self.sectors - 1, 0, name)


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a disk of so many ``sectors``; ``code`` is what a BIOS runs."""

    guid: UUID
    sectors: int
    partitions: Sequence[Partition]
    code: bytes = b""

    @property
    def head(self) -> bytes:
        """The first ``HEAD_SECTORS`` of the disk."""
        return self._mbr + self._header(1, self.sectors - 1, 2) + self._entries

    @property
    def tail(self) -> bytes:
        """The last ``TAIL_SECTORS`` of the disk."""
        return self._entries + self._header(self.sectors - 1, 1, self.sectors - TAIL_SECTORS)

    @property
    def _entries(self) -> bytes:
        return b"".join(each.entry for each in self.partitions).ljust(ENTRIES * ENTRY_BYTES, b"\0")

    @property
    def _mbr(self) -> bytes:
        length = min(self.sectors - 1, LARGEST_32)
        entry = MBR_ENTRY.pack(0, FIRST_CHS, PROTECTIVE, LAST_CHS, 1, length)
        return self.code.ljust(CODE_BYTES, b"\0") + bytes(6) + entry + bytes(48) + b"\x55\xaa"

    def _header(self, place: int, other: int, table: int) -> bytes:
        first, last = HEAD_SECTORS, self.sectors - TAIL_SECTORS - 1
        checks = ENTRIES, ENTRY_BYTES, zlib.crc32(self._entries)

        def packed(crc: int) -> bytes:
            head = (SIGNATURE, REVISION, HEADER_BYTES, crc, 0, place, other, first, last, self.guid.bytes_le, table)
            return HEADER.pack(*head, *checks)

        return packed(zlib.crc32(packed(0))).ljust(SECTOR_BYTES, b"\0")
