"""A disk that firmware starts, as a raw file; other formats are made of it.

::

    sectors 0–33    the MBR with our boot sector, the partition table (gpt.py)
    34–38           the kernel's header as the boot sector changes it, and the command line
    partition 1     kernel, and the root where it is an initramfs
    partition 2     the root as a file system, found by its partition's number
    the last 33     the partition table again

Partitions begin at multiples of 4 KiB. All numbers (GUIDs) are made from what is on the disk.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from imagebuilder.arch import TARGET, Firmware
from imagebuilder.bundle import IN_MEMORY, Bundle
from imagebuilder.errors import InputError
from imagebuilder.filesystems.common import replacing
from imagebuilder.images import bios
from imagebuilder.images.bios import Piece
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.gpt import HEAD_SECTORS, SECTOR_BYTES, TAIL_SECTORS, Partition, Table

NAME = "disk"
NUMBERS = UUID("5b6b9d6a-58a3-5ddb-9f2e-2f9d6b8f1c5e")  # our own namespace for version 5
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
FIRMWARE = (Firmware.BIOS,)
ALIGNED_BYTES = 4096
ALIGNED_SECTORS = ALIGNED_BYTES // SECTOR_BYTES
MIB_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies: first sectors; ``end`` is how many the disk has."""

    cmdline: str
    parameters: int
    kernel: int
    initrd: int | None
    """Of a root that is unpacked into memory."""
    root: int | None
    """Of one that is a file system."""
    guid: UUID
    """Of the root's partition."""
    used: int
    """How many sectors there are before the empty ones at the end, and the table's copy."""
    end: int

    @classmethod
    def of(cls, bundle: Bundle, unit_bytes: int = ALIGNED_BYTES) -> "Layout":
        """Of an image's disk, whose size is a multiple of the unit."""
        image = bundle.image
        filesystem = IN_MEMORY.get(image.root.format, image.root.format)
        guid = uuid5(NUMBERS, f"root {image.root.sha256}")
        kernel = _aligned(HEAD_SECTORS + 1 + _sectors(bios.MOST_CMDLINE_BYTES + 1))
        behind = kernel + _sectors(image.kernel.bytes)
        unpacked = filesystem == "cpio"
        root = behind if unpacked else _aligned(behind)
        used = root + _sectors(image.root.bytes)
        end = _aligned(used + TAIL_SECTORS, unit_bytes // SECTOR_BYTES)
        words = image.cmdline if unpacked else _on_partition(image.cmdline, filesystem, guid)
        initrd, own = (root, None) if unpacked else (None, root)
        return cls(words, HEAD_SECTORS, kernel, initrd, own, guid, used, end)

    @property
    def partitions(self) -> Iterator[Partition]:
        """The table's lines."""
        behind = self.root or self.end - TAIL_SECTORS
        yield Partition(BIOS_BOOT, uuid5(self.guid, "boot"), "boot", self.kernel, behind - self.kernel)
        if self.root is not None:
            sectors = self.end - TAIL_SECTORS - self.root
            yield Partition(UUID(TARGET.root_partition), self.guid, "root", self.root, sectors)

    def pieces(self, header: bios.Header, kernel_bytes: int, initrd_bytes: int) -> Iterator[Piece]:
        """What the boot sector loads, in this order."""
        setup = header.setup_sectors
        cmdline_sectors = _sectors(len(self.cmdline) + 1)
        yield Piece(self.kernel, bios.KERNEL_ADDRESS, setup)
        yield Piece(self.parameters, bios.KERNEL_ADDRESS + SECTOR_BYTES, 1)
        yield Piece(self.parameters + 1, bios.CMDLINE_ADDRESS, cmdline_sectors)
        yield Piece(self.kernel + setup, bios.PROTECTED_ADDRESS, _sectors(kernel_bytes) - setup)
        if self.initrd is not None:
            yield Piece(self.initrd, header.initrd_address, _sectors(initrd_bytes))


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it; no time is in it. Raises InputError for an image that no BIOS starts."""
    del epoch_s
    with replacing(path) as temporary:
        lay_down(bundle, temporary)
    return artifact(bundle, path, NAME)


def media(made: Artifact) -> Media:
    """What a machine starts from."""
    return Media(disks=(DiskImage(made.file),))


def artifact(bundle: Bundle, path: Path, name: str, unit_bytes: int = ALIGNED_BYTES) -> Artifact:
    """What was made of a bundle in the format of this name."""
    size_mib = -(-Layout.of(bundle, unit_bytes).end * SECTOR_BYTES // MIB_BYTES)
    return Artifact.of(bundle, path, format_name=name, firmware=FIRMWARE, minimum_disk_mib=size_mib)


def lay_down(bundle: Bundle, path: Path, unit_bytes: int = ALIGNED_BYTES) -> Layout:
    """The raw disk, of a size that is a multiple of the unit. Raises InputError for an image that no BIOS starts."""
    image, layout = bundle.image, Layout.of(bundle, unit_bytes)
    with bundle.kernel.open("rb") as stream:
        kernel = stream.read(2 * SECTOR_BYTES)
    header = bios.Header.of(kernel, image.kernel.name)
    cmdline = layout.cmdline.encode()
    if len(cmdline) > header.most_cmdline_bytes:
        message = (
            f"{image.name}: its command line has {len(cmdline)} bytes, and a disk takes {header.most_cmdline_bytes}"
        )
        raise InputError(message, hint="shorten cmdline under [kernel]")
    initrd_bytes = image.root.bytes if layout.initrd is not None else 0
    guid = uuid5(NUMBERS, f"disk {image.kernel.sha256} {image.root.sha256} {layout.cmdline}")
    code = bios.code([*layout.pieces(header, image.kernel.bytes, initrd_bytes)])
    table = Table(guid, layout.end, [*layout.partitions], code)
    with path.open("wb") as stream:
        stream.write(table.head)
        stream.write(bios.header_sector(kernel, header, initrd_bytes) + cmdline)
        for first, content in ((layout.kernel, bundle.kernel), (layout.initrd or layout.root or 0, bundle.root)):
            stream.seek(first * SECTOR_BYTES)
            with content.open("rb") as source:
                shutil.copyfileobj(source, stream)
        stream.seek((layout.end - TAIL_SECTORS) * SECTOR_BYTES)
        stream.write(table.tail)
    return layout


def _on_partition(cmdline: str, filesystem: str, guid: UUID) -> str:
    """The kernel's words with the root on a partition, which is waited for, instead of where else it is."""
    place = f"root=PARTUUID={guid} rootwait"
    words = [place if word.startswith("root=") else word for word in cmdline.split()]
    return " ".join(words if any(map(_names_type, words)) else [*words, f"rootfstype={filesystem}"])


def _names_type(word: str) -> bool:
    return word.startswith("rootfstype=")


def _sectors(size_bytes: int) -> int:
    return -(-size_bytes // SECTOR_BYTES)


def _aligned(sectors: int, unit: int = ALIGNED_SECTORS) -> int:
    return -(-sectors // unit) * unit
