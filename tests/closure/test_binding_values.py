"""Binding in figures: where an address is, where the dynamic section ends, which references become relative ones."""

from typing import Any

import pytest

from imagebuilder.closure.binding import (
    GLOBAL,
    RELOCATIONS,
    TAG,
    UNDEFINED,
    Relocation,
    Shared,
    Symbol,
    _dynamic,
    _relative,
)

NONE, OWN, SHARED_NAME, ELSEWHERE = range(4)
SYMBOLS = [
    Symbol(b"", 0, UNDEFINED, 0),
    Symbol(b"own", GLOBAL << 4, 7, 0x500),
    Symbol(b"shared", GLOBAL << 4, 7, 0x600),
    Symbol(b"elsewhere", GLOBAL << 4, UNDEFINED, 0),
]
CLAIMS = {b"own": 1, b"shared": 2, b"elsewhere": 1}


def shared(*segments: tuple[int, int, int]) -> Shared:
    """A library of which no more is known than its segments and symbols."""
    found = Shared(b"", segments, 0, (), len(SYMBOLS), True)
    found.__dict__["symbols"] = SYMBOLS
    return found


def test_an_address_is_looked_for_in_every_segment() -> None:
    found = shared((0x1000, 0x200, 0x100), (0x3000, 0x300, 0x10))
    assert [found.place(at) for at in (0x1000, 0x1001, 0x10FF, 0x3000, 0x300F)] == [0x200, 0x201, 0x2FF, 0x300, 0x30F]
    for outside in (0xFFF, 0x1100, 0x2FFF, 0x3010):
        with pytest.raises(ValueError, match=f"^{outside:#x} is not in the file$"):
            found.place(outside)


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        (((5, 0), (6, 1), (0, 0), (7, 7)), 2),
        (((5, 1), (6, 0)), 2),
        (((0, 9), (6, 1)), 0),
        (((1 << 56, 0), (0, 0)), 1),
        ((), 0),
    ],
)
def test_the_dynamic_section_ends_at_its_first_empty_tag(tags: tuple[tuple[int, int], ...], kept: int) -> None:
    section = b"".join(TAG.pack(*each) for each in tags)
    place: Any = {"p_offset": 5, "p_filesz": len(section)}
    assert _dynamic(b"12345" + section + b"behind", place) == section[: kept * TAG.size]


@pytest.mark.parametrize(
    ("kind", "symbol", "is_bound"),
    [
        (RELOCATIONS.address, OWN, True),
        (RELOCATIONS.address, NONE, False),
        (RELOCATIONS.address, SHARED_NAME, False),
        (RELOCATIONS.address, ELSEWHERE, False),
        (RELOCATIONS.jump_slot, OWN, False),
        (RELOCATIONS.jump_slot, NONE, False),
    ],
)
def test_what_is_alone_in_the_image_becomes_relative(kind: int, symbol: int, is_bound: bool) -> None:
    entry: Relocation = (0x40, symbol << 32 | kind, 3)
    found = _relative(entry, shared(), CLAIMS, (RELOCATIONS.address, RELOCATIONS.global_data))
    assert found == ((0x40, RELOCATIONS.relative, 0x503) if is_bound else entry)
