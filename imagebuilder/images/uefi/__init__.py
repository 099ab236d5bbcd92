"""How UEFI starts Linux: a unified kernel image (UAPI.5), one program of UEFI with the kernel, its command line and an
initial ramdisk as sections.

What starts the kernel is our own stub, prebuilt: code that runs wherever it is loaded. The headers around it are
written here (Microsoft's "PE Format").
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import TARGET
from imagebuilder.errors import OutputError
from imagebuilder.prebuilt.program import Program

STUB = Program.of(
    Path(__file__).resolve().parent,
    "stub",
    schema="imagebuilder.stub/1",
    compiler="gcc",
    flags=(
        *("-m64", "-Os", "-std=gnu17", "-Wall", "-Wextra", "-ffreestanding", "-fno-stack-protector", "-mno-red-zone"),
        *("-fpie", "-fvisibility=hidden", "-fshort-wchar", "-fno-asynchronous-unwind-tables", "-mgeneral-regs-only"),
        *("-fno-tree-loop-distribute-patterns", "-fcf-protection=none", "-nostdlib", "-static"),
        "-Wl,-e,_start,--oformat=binary,-Ttext=0,-N,--build-id=none,-z,noexecstack",
    ),
)
FALLBACK = Path("EFI", "BOOT", f"BOOT{TARGET.efi}.EFI")
"""What firmware starts from a disk of which it knows nothing."""
CODE, KERNEL, CMDLINE, INITRD = ".text", ".linux", ".cmdline", ".initrd"
ALIGNED_BYTES, PAGE_BYTES = 512, 4096  # of a section, in the file and in memory
DOS_HEADER = struct.Struct("<2s58xI")
FILE_HEADER = struct.Struct("<4sHHIIIHH")
OPTIONAL_HEADER = struct.Struct("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII128x")
SECTION_HEADER = struct.Struct("<8sIIIIIIHHI")
EXECUTABLE_IMAGE, LARGE_ADDRESS_AWARE = 0x2, 0x20
PE32_PLUS, EFI_APPLICATION, NX_COMPATIBLE, DIRECTORIES = 0x20B, 10, 0x100, 16
CODE_FLAGS, DATA_FLAGS = 0x60000020, 0x40000040  # code, to be read and run; data, to be read


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its bytes, and where they begin, in the file and in memory."""

    name: str
    size_bytes: int
    offset: int
    address: int

    @property
    def header(self) -> bytes:
        """Its line in the table of sections."""
        flags = CODE_FLAGS if self.name == CODE else DATA_FLAGS
        place = (self.size_bytes, self.address, aligned(self.size_bytes, ALIGNED_BYTES), self.offset)
        return SECTION_HEADER.pack(self.name.encode(), *place, 0, 0, 0, 0, flags)


@dataclass(frozen=True, slots=True)
class UnifiedImage:
    """Where everything lies in the file. The same sections give the same headers."""

    sections: Mapping[str, Section]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> "UnifiedImage":
        """Of sections with so many bytes, in this order; those without any are left out."""
        kept = {name: size for name, size in sizes.items() if size}
        headers = DOS_HEADER.size + FILE_HEADER.size + OPTIONAL_HEADER.size + len(kept) * SECTION_HEADER.size
        offset = aligned(headers, ALIGNED_BYTES)
        address = aligned(offset, PAGE_BYTES)
        sections = {}
        for name, size in kept.items():
            sections[name] = Section(name, size, offset, address)
            offset += aligned(size, ALIGNED_BYTES)
            address += aligned(size, PAGE_BYTES)
        return cls(sections)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        last = [*self.sections.values()][-1]
        return last.offset + aligned(last.size_bytes, ALIGNED_BYTES)

    @property
    def headers(self) -> bytes:
        """What the file begins with, before its first section."""
        return b"".join(self._headers()).ljust(self._first.offset, b"\0")

    @property
    def _first(self) -> Section:
        return next(iter(self.sections.values()))

    def _headers(self) -> Iterator[bytes]:
        code, *others = self.sections.values()
        last = [code, *others][-1]
        yield DOS_HEADER.pack(b"MZ", DOS_HEADER.size)
        kind = EXECUTABLE_IMAGE | LARGE_ADDRESS_AWARE
        yield FILE_HEADER.pack(
            b"PE\0\0", TARGET.pe_machine, len(self.sections), 0, 0, 0, OPTIONAL_HEADER.size, kind
        )  # no time
        data_bytes = sum(aligned(each.size_bytes, ALIGNED_BYTES) for each in others)
        yield OPTIONAL_HEADER.pack(
            *(PE32_PLUS, 0, 0, aligned(code.size_bytes, ALIGNED_BYTES), data_bytes, 0, code.address, code.address, 0),
            *(PAGE_BYTES, ALIGNED_BYTES, *(0,) * 6, 0),  # of no version
            *(last.address + aligned(last.size_bytes, PAGE_BYTES), code.offset, 0, EFI_APPLICATION, NX_COMPATIBLE),
            *(*(0,) * 4, 0, DIRECTORIES),
        )
        yield from (each.header for each in self.sections.values())


def stub() -> bytes:
    """The code. Raises OutputError when it is not as it was shipped."""
    code = STUB.read()
    if code is None:
        raise OutputError(f"{STUB.file} is damaged", hint="install imagebuilder again")
    return code


def aligned(size: int, unit: int) -> int:
    """The next multiple of the unit."""
    return -(-size // unit) * unit
