"""Which files are taken for libraries that can be bound: a real one, and what differs from it in one field (gABI)."""

import struct
from pathlib import Path

import pytest

from imagebuilder.closure.binding import DT_SONAME, Shared, _read

from .elves import AARCH64, PT_DYNAMIC, PT_LOAD

LIBRARY = Path("/lib/x86_64-linux-gnu/libm.so.6")
HEADERS_AT, HEADER_BYTES = 64, 56  # of a file whose program headers follow its own header, as linkers write it
SEGMENT = struct.Struct("<IIQQQQQQ")  # kind, flags, place, address, physical address, bytes in the file, in memory, …
KIND_AT, TYPE_AT, MACHINE_AT, COUNT_AT = 0, 16, 18, 56
FILE_BYTES_AT = 32  # within a program header
EXECUTABLE, PT_NOTE = 2, 4
ADDRESSES, BITS_32, BIG_ENDIAN = 4, 1, 2

pytestmark = pytest.mark.skipif(not LIBRARY.is_file(), reason="this machine has no such library")


def segments(data: bytes) -> list[tuple[int, ...]]:
    """Its program headers."""
    (count,) = struct.unpack_from("<H", data, COUNT_AT)
    return [SEGMENT.unpack_from(data, HEADERS_AT + HEADER_BYTES * number) for number in range(count)]


def dynamic_at(data: bytes) -> int:
    """Where the header of its dynamic section is."""
    return HEADERS_AT + HEADER_BYTES * [kind for kind, *_ in segments(data)].index(PT_DYNAMIC)


def changed(at: int, value: bytes) -> bytes:
    """The library with other bytes at this place."""
    data = LIBRARY.read_bytes()
    return data[:at] + value + data[at + len(value) :]


def read(data: bytes) -> Shared:
    """What it is taken for."""
    found = _read(data)
    assert found is not None
    return found


def test_what_a_library_is_read_as() -> None:
    data = LIBRARY.read_bytes()
    found, headers = read(data), segments(data)
    assert found.data == data and found.is_movable and not found.is_c_library
    assert list(found.segments) == [
        (address, place, size) for kind, _, place, address, _, size, *_ in headers if kind == PT_LOAD
    ]
    (dynamic,) = [each for each in headers if each[0] == PT_DYNAMIC]
    assert found.dynamic_at == dynamic[2]
    assert found.dynamic[0] == struct.unpack_from("<QQ", data, dynamic[2])
    assert DT_SONAME in found.tags and 0 not in found.tags
    names = {symbol.name for symbol in found.symbols}
    assert len(found.symbols) == found.symbol_count > len(names) / 2 and {b"", b"cos", b"sqrt"} <= names


def test_one_that_runs_at_its_own_address_is_not_moved() -> None:
    assert not read(changed(TYPE_AT, struct.pack("<H", EXECUTABLE))).is_movable


def test_what_is_of_another_kind_is_none_of_ours() -> None:
    data = LIBRARY.read_bytes()
    at = dynamic_at(data)
    others = {
        "another processor": changed(MACHINE_AT, struct.pack("<H", AARCH64)),
        "addresses of 32 bits": changed(ADDRESSES, bytes([BITS_32])),
        "the other order of bytes": changed(ADDRESSES + 1, bytes([BIG_ENDIAN])),
        "no dynamic section": changed(at + KIND_AT, struct.pack("<I", PT_NOTE)),
        "an empty dynamic section": changed(at + FILE_BYTES_AT, struct.pack("<Q", 0)),
        "a dynamic section that is not there": changed(at + FILE_BYTES_AT, struct.pack("<Q", 8)),
    }
    assert {what: _read(each) for what, each in others.items()} == dict.fromkeys(others)
