"""A counted kernel as small as can be, without a compiler: one constructor, its description, one function."""

import struct

from imagebuilder.kernel.arcs import KINDS, LOADS, MADE_BY

AT = 0xFFFF_FFFF_8000_0000
HEADERS = 64 + 56  # of the file and of its one segment
CODE, INFO, TABLE, FUNCTION, FILE = HEADERS, HEADERS + 32, HEADERS + 160, HEADERS + 176, HEADERS + 232
INIT, NAMES, COUNTERS = HEADERS + 264, HEADERS + 272, HEADERS + 304
NUMBER = 3  # of counters
SECTIONS = HEADERS + 336


def counted() -> bytes:
    """The file."""
    code = LOADS[0] + struct.pack("<i", (AT + INFO) - (1 << 64))
    info = (
        struct.pack("<IIQIIQ", MADE_BY, 0, 0, 11, 12, AT + FILE)
        + bytes(8 * KINDS)
        + struct.pack("<IIQ", 1, 0, AT + TABLE)
    )
    pieces = {
        CODE: code,
        INFO: info,
        TABLE: struct.pack("<Q", AT + FUNCTION),
        FUNCTION: struct.pack("<QIIIIIIQ", 0, 1, 2, 3, 0, NUMBER, 0, AT + COUNTERS),
        FILE: b"/build/one/a.gcda\0",
        INIT: struct.pack("<Q", AT + CODE),
        NAMES: b"\0.init_array\0.names\0",
        SECTIONS: _sections(),
    }
    image = bytearray(SECTIONS + 3 * 64)
    image[:HEADERS] = _header() + _segment(len(image))
    for at, piece in pieces.items():
        image[at : at + len(piece)] = piece
    return bytes(image)


def _header() -> bytes:
    """gABI, "ELF Header": a program for x86-64."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, AT, 64, SECTIONS, 0, 64, 56, 1, 64, 3, 2)


def _segment(size: int) -> bytes:
    """gABI, "Program Header": all of the file, to be loaded."""
    return struct.pack("<IIQQQQQQ", 1, 7, 0, AT, 0x100_0000, size, size, 4096)


def _sections() -> bytes:
    """gABI, "Sections": none, the constructors, the names."""
    return bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 3, AT + at, at, size, 0, 0, 8, 8 if kind == 14 else 0)
        for name, kind, at, size in ((1, 14, INIT, 8), (13, 3, NAMES, 20))
    )
