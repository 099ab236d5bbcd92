"""A guest of a few hundred bytes that does what every kernel does first, computes a little and says that it is done.

It is there to tell a KVM that runs guests from one that only opens: some hosts emulate what they cannot run, one
instruction at a time. A guest of a dozen instructions gets through on those, a kernel never does; hence the loop.
"""

import struct

LOAD_ADDRESS = 0x100000
TABLES_ADDRESS = 0x200000
LOOPS = 20_000_000  # about 0.1 s when translated by TCG, a few ms on a processor
PORT = 0xF4
SIGNAL = 42
EXIT_STATUS = SIGNAL << 1 | 1  # how QEMU's isa-debug-exit ends QEMU
DEVICE = f"isa-debug-exit,iobase={PORT:#x},iosize=4"

ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES = 52, 32
XEN_ELFNOTE_PHYS32_ENTRY = 18  # PVH: the kernel's 32-bit entry point (xen/include/public/elfnote.h)


def probe_guest(loops: int = LOOPS) -> bytes:
    """The guest as an ELF file with a PVH entry point, for QEMU's ``-kernel``."""
    headers_bytes = ELF_HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES
    note_bytes = len(_note(0))
    base = LOAD_ADDRESS + headers_bytes
    body = _note(base + note_bytes) + _code(base + note_bytes, loops)
    size = headers_bytes + len(body)
    load = (1, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 7, 0x1000)  # PT_LOAD, readable, writable, executable
    note = (4, headers_bytes, base, base, note_bytes, note_bytes, 4, 4)  # PT_NOTE, readable
    return _elf_header(base + note_bytes) + struct.pack("<8I", *load) + struct.pack("<8I", *note) + body


def _elf_header(entry: int) -> bytes:
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")  # 32 bits, little-endian
    sizes = (ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES, 2, 40, 0, 0)
    return ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, entry, ELF_HEADER_BYTES, 0, 0, *sizes)


def _note(entry: int) -> bytes:
    return struct.pack("<III4sI", 4, 4, XEN_ELFNOTE_PHYS32_ENTRY, b"Xen\0", entry)


def _code(address: int, loops: int) -> bytes:
    """Machine code for ``address``: from 32-bit mode without paging (PVH) to 64-bit mode, the loop, the signal."""
    pml4, pdpt, directory = (TABLES_ADDRESS + 0x1000 * index for index in range(3))
    long_mode = (
        b"\xb9" + struct.pack("<I", loops)  # mov ecx, loops
        + b"\xff\xc9\x75\xfc"  # again: dec ecx; jnz again
        + bytes((0xB0, SIGNAL, 0xE6, PORT))  # mov al, SIGNAL; out PORT, al
        + b"\xf4\xeb\xfd"  # stop: hlt; jmp stop
    )  # fmt: skip
    enter = (
        _store(pml4, pdpt | 3)  # page tables: present, writable
        + _store(pdpt, directory | 3)
        + _store(directory, 0x83)  # one page of 2 MiB from 0
        + b"\xb8" + struct.pack("<I", pml4) + b"\x0f\x22\xd8"  # mov eax, pml4; mov cr3, eax
        + b"\x0f\x20\xe0\x83\xc8\x20\x0f\x22\xe0"  # cr4 |= PAE
        + b"\xb9\x80\x00\x00\xc0\x0f\x32\x0d\x00\x01\x00\x00\x0f\x30"  # EFER |= LME
        + b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # cr0 |= PG
    )  # fmt: skip
    far_jump_bytes, load_gdt_bytes = 7, 7
    after = address + len(enter) + load_gdt_bytes + far_jump_bytes
    gdt = after + len(long_mode)
    pointer = gdt + 16
    return (
        enter
        + b"\x0f\x01\x15" + struct.pack("<I", pointer)  # lgdt [pointer]
        + b"\xea" + struct.pack("<IH", after, 8)  # jmp 8:after
        + long_mode
        + struct.pack("<QQ", 0, 0x00209A0000000000)  # null; 64-bit code
        + struct.pack("<HI", 15, gdt)
    )  # fmt: skip


def _store(address: int, value: int) -> bytes:
    return b"\xc7\x05" + struct.pack("<II", address, value)  # mov dword [address], value
