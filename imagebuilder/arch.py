"""Architectures: one row for each that images can be made for, with the name that everybody has for it.

No other module writes such a name: they take it from ``TARGET``, or the row that a kernel definition names.
"""

import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class MachineType(StrEnum):
    """QEMU's machines: all that a kernel may be made for, and that an image may expect."""

    MICROVM = "microvm"
    Q35 = "q35"

    @property
    def versioned(self) -> str:
        """A machine of this kind as QEMU names one of a version, which patterns of firmware's descriptions match."""
        return {"microvm": "microvm", "q35": "pc-q35-7.2"}[self.value]


class Firmware(StrEnum):
    """What a machine starts the kernel with: the one who starts the machine loads it (``direct``), or its firmware."""

    DIRECT = "direct"
    BIOS = "bios"
    UEFI = "uefi"

    @property
    def words(self) -> str:
        """In a sentence."""
        return {"direct": "its host", "bios": "a BIOS", "uefi": "UEFI"}[self.value]


class ImageType(StrEnum):
    """How a kernel is packed: the bare ELF file, or the one that unpacks itself."""

    VMLINUX = "vmlinux"
    BZIMAGE = "bzImage"


@dataclass(frozen=True, slots=True)
class Relocations:
    """The numbers of a psABI's relocations that the dynamic linker makes for one plain address."""

    address: int
    global_data: int
    jump_slot: int
    relative: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture. ``name`` is what Linux (``uname -m``), Python and kernel definitions call it."""

    name: str
    title: str
    """In a sentence."""
    qemu: str
    """QEMU's program."""
    qemu_package: str
    """The Debian package that brings it."""
    machines: tuple[MachineType, ...]
    """The machines that QEMU has for it."""
    debian: str
    """Of Debian's packages."""
    oci: str
    """Of container images (Go's GOARCH)."""
    node: str
    """Of Node (``process.arch``), and of packages of npm."""
    efi: str
    """Of UEFI's fallback loader, ``BOOT….EFI`` (UEFI 2.10, 3.5.1.1)."""
    pe_machine: int
    """Of a program for UEFI, in its header (Microsoft's "PE Format")."""
    root_partition: str
    """The type of a partition with its root (UAPI's Discoverable Partitions Specification)."""
    elf: tuple[str, int]
    """``e_machine`` as pyelftools names it, and the bits."""
    relocations: Relocations
    multiarch: str
    """Debian's folder of libraries in ``/usr/lib`` (and the GNU triplet)."""
    merged_folders: tuple[str, ...]
    """The folders of libraries that a merged system has below ``/usr`` (and links to)."""
    linker: str
    """Where glibc's programs look for their dynamic linker."""
    linkers: Mapping[str, tuple[str, ...]]
    """The file name of a dynamic linker -> the folders that it looks through by itself, in its order; glibc's first."""
    console: str
    """Linux's name of the first serial port."""
    kernel_images: Mapping[ImageType, str]
    """What the kernel's make gives: target -> path in its tree."""
    xz_filter: int
    """The filter of xz that makes jumps and calls alike, whose targets are relative."""

    @property
    def glibc_folders(self) -> tuple[str, ...]:
        """The folders that glibc's dynamic linker looks through by itself."""
        return next(iter(self.linkers.values()))

    @property
    def library_folder(self) -> str:
        """The folder that glibc puts in for ``$LIB``."""
        return f"lib/{self.multiarch}"


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            name="x86_64",
            title="x86-64",
            qemu="qemu-system-x86_64",
            qemu_package="qemu-system-x86",
            machines=(MachineType.MICROVM, MachineType.Q35),
            debian="amd64",
            oci="amd64",
            node="x64",
            efi="X64",
            pe_machine=0x8664,
            root_partition="4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            elf=("EM_X86_64", 64),
            relocations=Relocations(address=1, global_data=6, jump_slot=7, relative=8),
            multiarch="x86_64-linux-gnu",
            merged_folders=("/lib", "/lib64"),
            linker="/lib64/ld-linux-x86-64.so.2",
            linkers={
                "ld-linux-x86-64.so.2": ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"),
                "ld-musl-x86_64.so.1": ("/lib/x86_64-linux-musl", "/lib", "/usr/local/lib", "/usr/lib"),
            },
            console="ttyS0",
            kernel_images={ImageType.VMLINUX: "vmlinux", ImageType.BZIMAGE: "arch/x86/boot/bzImage"},
            xz_filter=lzma.FILTER_X86,
        ),
    )
}
TARGET = next(iter(ARCHITECTURES.values()))
"""What images are made for, where nothing says otherwise."""
