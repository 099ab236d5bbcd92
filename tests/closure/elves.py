"""Small ELF files, written here byte by byte (gABI, 64-bit little-endian): enough of one for the dynamic linker."""

import struct
from collections.abc import Iterable

X86_64, AARCH64 = 62, 183
DYN = 3
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
TAGS = {"needed": 1, "rpath": 15, "runpath": 29}
LINKER = "/lib64/ld-linux-x86-64.so.2"


def elf(
    *needed: str,
    interpreter: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    machine: int = X86_64,
) -> bytes:
    """A shared object, or with an interpreter a program, that needs these libraries."""
    texts = b"\0"
    tags: list[tuple[int, int]] = []
    for kind, values in (("needed", needed), ("rpath", _some(rpath)), ("runpath", _some(runpath))):
        for value in values:
            tags.append((TAGS[kind], len(texts)))
            texts += value.encode() + b"\0"
    segments = 3 if interpreter else 2
    start = 64 + 56 * segments
    dynamic_bytes = 16 * (len(tags) + 3)
    texts_at = start + dynamic_bytes
    tags += [(5, texts_at), (10, len(texts)), (0, 0)]  # DT_STRTAB, DT_STRSZ, DT_NULL
    name = (interpreter or "").encode() + b"\0"
    total = texts_at + len(texts) + len(name)
    headers = [_segment(PT_LOAD, 0, total), _segment(PT_DYNAMIC, start, dynamic_bytes)]
    headers += [_segment(PT_INTERP, texts_at + len(texts), len(name))] if interpreter else []
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head = struct.pack("<HHIQQQIHHHHHH", DYN, machine, 1, 0, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    return ident + head + b"".join(headers) + b"".join(struct.pack("<QQ", *tag) for tag in tags) + texts + name


def program(*needed: str, **more: str) -> bytes:
    """A program of glibc."""
    return elf(*needed, interpreter=LINKER, **more)  # type: ignore[arg-type]


def _segment(kind: int, offset: int, size_bytes: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size_bytes, size_bytes, 1)


def _some(value: str | None) -> Iterable[str]:
    return () if value is None else (value,)
