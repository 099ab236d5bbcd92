"""How a BIOS starts Linux from a disk: our boot sector, prebuilt, and the table of what it loads where.

The protocol is that of Linux (``boot.rst`` of its documentation): its numbers stand here and in ``src/stage.S``.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import ImageType
from imagebuilder.errors import InputError, OutputError
from imagebuilder.prebuilt.program import Program

SECTOR_BYTES = 512
STAGE = Program.of(
    Path(__file__).resolve().parent,
    "stage",
    schema="imagebuilder.stage/1",
    compiler="gcc",
    flags=("-m32", "-nostdlib", "-static", "-Wl,--oformat=binary,-Ttext=0x7c00,--build-id=none,-z,noexecstack"),
)
PIECE = struct.Struct("<QII")
MOST_PIECES = 5
KERNEL_ADDRESS, CMDLINE_ADDRESS, PROTECTED_ADDRESS = 0x10000, 0x1E000, 0x100000
HEAP_END = 0xDE00  # of the real-mode part's segment, whose stack ends at 0xe000, less 0x200
MOST_CMDLINE_BYTES = 2047
MIB_BYTES = 1 << 20
# Offsets in the kernel's header.
SETUP_SECTORS, MAGIC, VERSION, LOADER, FLAGS, INITRD, HEAP, CMDLINE = 497, 514, 518, 528, 529, 536, 548, 552
CMDLINE_SIZE, PREFERRED = 568, 600
LOADED_HIGH, CAN_USE_HEAP, UNREGISTERED_LOADER = 1, 0x80, 0xFF
OLDEST = 0x20C  # the protocol's version that says how much memory the kernel takes to unpack itself


@dataclass(frozen=True, slots=True)
class Piece:
    """What the boot sector loads: so many sectors of the disk to an address."""

    first: int
    address: int
    sectors: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a kernel says of itself: the sectors of its real-mode part, and where its memory ends when it unpacks
    itself."""

    setup_sectors: int
    end_address: int
    most_cmdline_bytes: int

    @classmethod
    def of(cls, kernel: bytes, name: str) -> "Header":
        """Of a kernel's first sectors. Raises InputError for what is none that a BIOS starts."""
        known = len(kernel) >= 2 * SECTOR_BYTES and kernel[MAGIC : MAGIC + 4] == b"HdrS"
        if not known or _number(kernel, VERSION, "<H") < OLDEST or not kernel[FLAGS] & LOADED_HIGH:
            raise InputError(
                f"the kernel {name} is no {ImageType.BZIMAGE}, which is what a disk starts", hint="--kernel cloud"
            )
        address, size = struct.unpack_from("<QI", kernel, PREFERRED)
        most = min(_number(kernel, CMDLINE_SIZE, "<I"), MOST_CMDLINE_BYTES)
        return cls((kernel[SETUP_SECTORS] or 4) + 1, address + size, most)

    @property
    def initrd_address(self) -> int:
        """Where an initial ramdisk is in nothing's way."""
        return -(-self.end_address // MIB_BYTES) * MIB_BYTES


def header_sector(kernel: bytes, header: Header, initrd_bytes: int) -> bytes:
    """The sector of the kernel's header with what a boot loader writes there."""
    sector = bytearray(kernel[SECTOR_BYTES : 2 * SECTOR_BYTES])

    def write(offset: int, form: str, *values: int) -> None:
        struct.pack_into(form, sector, offset - SECTOR_BYTES, *values)

    write(LOADER, "<BB", UNREGISTERED_LOADER, kernel[FLAGS] | CAN_USE_HEAP)
    write(INITRD, "<II", header.initrd_address if initrd_bytes else 0, initrd_bytes)
    write(HEAP, "<H", HEAP_END)
    write(CMDLINE, "<I", CMDLINE_ADDRESS)
    return bytes(sector)


def code(pieces: Sequence[Piece]) -> bytes:
    """The boot sector's code with its table. Raises OutputError when it is not as it was shipped."""
    stage = STAGE.read()
    if stage is None:
        raise OutputError(f"{STAGE.file} is damaged", hint="install imagebuilder again")
    table = b"".join(PIECE.pack(each.first, each.address, each.sectors) for each in pieces)
    size = MOST_PIECES * PIECE.size
    return stage[:-size] + table.ljust(size, b"\0")


def _number(kernel: bytes, offset: int, form: str) -> int:
    (number,) = struct.unpack_from(form, kernel, offset)
    return int(number)
