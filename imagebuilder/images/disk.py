"""A disk that firmware starts, as a raw file; other formats are made of it.

::

    sectors 0–33    the MBR with our boot sector, the partition table (gpt.py)
    34–38           the kernel's header as the boot sector changes it, and the command line
    partition 1     a FAT with what UEFI starts, a unified kernel image: kernel, command line, and the root where it is
                    an initramfs; the boot sector loads the kernel from there, too
    partition 2     the root as a file system, found by its partition's number
    the last 33     the partition table again

Partitions begin at multiples of 4 KiB. All numbers (GUIDs) are made from what is on the disk.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid5

from imagebuilder.arch import TARGET, Firmware
from imagebuilder.bundle import IN_MEMORY, Bundle
from imagebuilder.errors import InputError
from imagebuilder.filesystems.common import replacing
from imagebuilder.images import bios, uefi
from imagebuilder.images.bios import Piece
from imagebuilder.images.fat import Volume
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.gpt import HEAD_SECTORS, SECTOR_BYTES, TAIL_SECTORS, Partition, Table

NAME = "disk"
NUMBERS = UUID("5b6b9d6a-58a3-5ddb-9f2e-2f9d6b8f1c5e")  # our own namespace for version 5
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
FIRMWARE = (Firmware.BIOS, Firmware.UEFI)
ALIGNED_BYTES = 4096
ALIGNED_SECTORS = ALIGNED_BYTES // SECTOR_BYTES
MIB_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies: first sectors; ``end`` is how many the disk has."""

    cmdline: str
    parameters: int
    unified: uefi.UnifiedImage
    volume: Volume
    """With the unified image."""
    system: int
    """Where the volume begins."""
    root: int | None
    """Of a root that is a file system; one that is unpacked into memory is part of the unified image."""
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
        unpacked = filesystem == "cpio"
        words = image.cmdline if unpacked else _on_partition(image.cmdline, filesystem, guid)
        unified = uefi.UnifiedImage.of(
            {
                uefi.CODE: len(uefi.stub()),
                uefi.KERNEL: image.kernel.bytes,
                uefi.CMDLINE: len(words.encode()),
                uefi.INITRD: image.root.bytes if unpacked else 0,
            }
        )
        system = _aligned(HEAD_SECTORS + 1 + _sectors(bios.MOST_CMDLINE_BYTES + 1))
        volume = Volume.of(
            PurePosixPath(uefi.FALLBACK),
            unified.size_bytes,
            number=uuid5(guid, "fat").fields[0],
            hidden_sectors=system,
            aligned_sectors=ALIGNED_SECTORS,
        )
        behind = _aligned(system + volume.sectors)
        used = behind + (0 if unpacked else _sectors(image.root.bytes))
        end = _aligned(used + TAIL_SECTORS, unit_bytes // SECTOR_BYTES)
        return cls(words, HEAD_SECTORS, unified, volume, system, None if unpacked else behind, guid, used, end)

    @property
    def partitions(self) -> Iterator[Partition]:
        """The table's lines."""
        yield Partition(EFI_SYSTEM, uuid5(self.guid, "boot"), "boot", self.system, self.volume.sectors)
        if self.root is not None:
            sectors = self.end - TAIL_SECTORS - self.root
            yield Partition(UUID(TARGET.root_partition), self.guid, "root", self.root, sectors)

    @property
    def file(self) -> int:
        """Where the unified image begins."""
        return self.system + self.volume.file_sector

    def section(self, name: str) -> int:
        """Where a section of the unified image begins."""
        return self.file + self.unified.sections[name].offset // SECTOR_BYTES

    def pieces(self, header: bios.Header) -> Iterator[Piece]:
        """What the boot sector loads, in this order."""
        setup, kernel = header.setup_sectors, self.section(uefi.KERNEL)
        sizes = {name: _sectors(section.size_bytes) for name, section in self.unified.sections.items()}
        yield Piece(kernel, bios.KERNEL_ADDRESS, setup)
        yield Piece(self.parameters, bios.KERNEL_ADDRESS + SECTOR_BYTES, 1)
        yield Piece(self.parameters + 1, bios.CMDLINE_ADDRESS, _sectors(len(self.cmdline) + 1))
        yield Piece(kernel + setup, bios.PROTECTED_ADDRESS, sizes[uefi.KERNEL] - setup)
        if uefi.INITRD in sizes:
            yield Piece(self.section(uefi.INITRD), header.initrd_address, sizes[uefi.INITRD])


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it; no time is in it. Raises InputError for one that cannot be started."""
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
    """The raw disk, of a size that is a multiple of the unit. Raises InputError for one that cannot be started."""
    image, layout = bundle.image, Layout.of(bundle, unit_bytes)
    with bundle.kernel.open("rb") as stream:
        kernel = stream.read(2 * SECTOR_BYTES)
    header = bios.Header.of(kernel, image.kernel.name)
    cmdline = layout.cmdline.encode()
    about, most = f"{image.name}: its command line has", header.most_cmdline_bytes
    if other := next((each for each in layout.cmdline if not each.isascii()), None):
        raise InputError(f"{about} {other!r}, and a disk takes ASCII", hint="change cmdline under [kernel]")
    if len(cmdline) > most:
        raise InputError(
            f"{about} {len(cmdline)} bytes, and a disk takes {most}", hint="shorten cmdline under [kernel]"
        )
    initrd_bytes = image.root.bytes if layout.root is None else 0
    guid = uuid5(NUMBERS, f"disk {image.kernel.sha256} {image.root.sha256} {layout.cmdline}")
    code = bios.code([*layout.pieces(header)])
    table = Table(guid, layout.end, [*layout.partitions], code)
    with path.open("wb") as stream:
        stream.write(table.head)
        stream.write(bios.header_sector(kernel, header, initrd_bytes) + cmdline)
        for sector, content in (
            (layout.system, layout.volume.head),
            (layout.file, layout.unified.headers + uefi.stub()),
            (layout.section(uefi.CMDLINE), cmdline),
        ):
            stream.seek(sector * SECTOR_BYTES)
            stream.write(content)
        root = layout.section(uefi.INITRD) if layout.root is None else layout.root
        for sector, file in ((layout.section(uefi.KERNEL), bundle.kernel), (root, bundle.root)):
            stream.seek(sector * SECTOR_BYTES)
            with file.open("rb") as source:
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
