"""Symbols bound when the image is built, which the dynamic linker else looks up at each start.

A library of a distribution calls most of its own functions through the dynamic linker, so that another library could
take their place: OpenSSL has 4,000 such references to itself, and looks all of them up before nginx runs. In an image
all programs and libraries are known. Where exactly one of them defines a name, a reference of that library to it needs
no search: its relocation becomes one to an address relative to the library (RELATIVE in the psABI), in place. No byte
is added or moved; references to other libraries, and all that is special, stay as they were.

Layout: gABI ("Relocation", "Dynamic Section") and the psABI of ``arch.py``.
"""

import io
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from imagebuilder.arch import TARGET
from imagebuilder.closure.elf import is_elf
from imagebuilder.tree import Blob, Kind, Tree

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicSegment

SYMBOL, RELOCATION, TAG = struct.Struct("<IBBHQQ"), struct.Struct("<QQq"), struct.Struct("<Qq")
DT_PLTRELSZ, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_SONAME = 2, 5, 6, 7, 8, 14
DT_JMPREL, DT_BIND_NOW, DT_FLAGS, DT_RELACOUNT, DT_FLAGS_1 = 23, 24, 30, 0x6FFFFFF9, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW = 8, 1
RELOCATIONS = TARGET.relocations
UNDEFINED, FIRST_RESERVED = 0, 0xFF00
GLOBAL, WEAK = 1, 2
PLAIN_TYPES = (0, 1, 2)  # no type, object, function: no thread-local ones, and none that are computed at start
# A replacement of malloc at run time has to reach the C library too, which therefore asks the linker for its own.
C_LIBRARY = re.compile(r"(libc|ld-linux.*|ld-musl.*)\.(so|musl).*")
PRELOAD = "/etc/ld.so.preload"


@dataclass(frozen=True, slots=True)
class Symbol:
    """An entry of the dynamic symbol table."""

    name: bytes
    info: int
    section: int
    value: int

    @property
    def is_claimed(self) -> bool:
        """Whether others may be bound to it: it is defined, or a program has given it an address of its own."""
        return self.section != UNDEFINED or self.value != 0

    @property
    def is_plain(self) -> bool:
        """Whether its address is that of something in the file."""
        named = self.info >> 4 in (GLOBAL, WEAK) and self.info & 15 in PLAIN_TYPES
        return named and UNDEFINED < self.section < FIRST_RESERVED


Relocation = tuple[int, int, int]  # where, symbol << 32 | type, addend


@dataclass(frozen=True)
class Shared:
    """A dynamically linked ELF file for the processor that images are made for."""

    data: bytes
    segments: tuple[tuple[int, int, int], ...]
    """Loaded parts: address, place in the file, bytes."""
    dynamic_at: int
    dynamic: tuple[tuple[int, int], ...]
    """Its dynamic section: tags, each with its value."""
    symbol_count: int
    is_movable: bool

    @cached_property
    def tags(self) -> Mapping[int, int]:
        """The dynamic section by tag, of those that stand in it once."""
        return dict(self.dynamic)

    @cached_property
    def symbols(self) -> list[Symbol]:
        """The dynamic symbols."""
        table, texts = self.place(self.tags[DT_SYMTAB]), self.place(self.tags[DT_STRTAB])
        entries = SYMBOL.iter_unpack(self.data[table : table + SYMBOL.size * self.symbol_count])
        return [Symbol(self._text(texts + name), info, section, value) for name, info, _, section, value, _ in entries]

    @property
    def binds_at_start(self) -> bool:
        """Whether all is bound before it runs; else a function when it is first called."""
        flags = self.tags.get(DT_FLAGS, 0) & DF_BIND_NOW or self.tags.get(DT_FLAGS_1, 0) & DF_1_NOW
        return bool(flags) or DT_BIND_NOW in self.tags

    @property
    def is_c_library(self) -> bool:
        """Whether it is the C library, or its dynamic linker."""
        name = self.tags.get(DT_SONAME)
        return name is not None and bool(
            C_LIBRARY.fullmatch(self._text(self.place(self.tags[DT_STRTAB]) + name).decode(errors="replace"))
        )

    def place(self, address: int) -> int:
        """Where an address is in the file. Raises ValueError."""
        for begin, offset, size_bytes in self.segments:
            if begin <= address < begin + size_bytes:
                return address - begin + offset
        raise ValueError(f"{address:#x} is not in the file")

    def relocations(self, start: int, size: int) -> list[Relocation]:
        """A table of relocations, by the tags that say where it is and how large."""
        if start not in self.tags:
            return []
        at = self.place(self.tags[start])
        return list(RELOCATION.iter_unpack(self.data[at : at + self.tags[size]]))

    def _text(self, at: int) -> bytes:
        return self.data[at : self.data.index(b"\0", at)]


def bound(tree: Tree, environment: Mapping[str, str]) -> Tree:
    """The tree with its libraries bound to themselves where nothing else in it could take their place.

    It is left as it is when something else is preloaded: with ``LD_…`` in the application's environment, or with
    /etc/ld.so.preload.
    """
    if PRELOAD in tree or any(name.startswith("LD_") for name in environment):
        return tree
    objects = dict(_objects(tree))
    # A name counts once for each entry: one that a library defines twice, in versions, is left to the linker.
    claims = Counter(symbol.name for each in objects.values() for symbol in each.symbols if symbol.is_claimed)
    changed = {
        path: replace(tree[path], content=Blob.of(data))
        for path, each in objects.items()
        if each.is_movable and not each.is_c_library and (data := _sound(each, claims)) != each.data
    }
    return Tree({**tree, **changed})


def _objects(tree: Tree) -> Iterator[tuple[str, Shared]]:
    for path, node in tree.items():
        data = node.content.read() if node.kind is Kind.FILE else b""
        if is_elf(data) and (shared := _read(data)) is not None:
            yield path, shared


def _read(data: bytes) -> Shared | None:
    """None for what is not dynamically linked, for another processor, or damaged: it is none of ours."""
    from elftools.elf.dynamic import DynamicSegment  # here, since a build with nothing changed reads none
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        dynamic = next((each for each in elf.iter_segments() if isinstance(each, DynamicSegment)), None)
        if (str(elf["e_machine"]), elf.elfclass) != TARGET.elf or dynamic is None or not dynamic["p_filesz"]:
            return None
        segments = tuple(
            (each["p_vaddr"], each["p_offset"], each["p_filesz"]) for each in elf.iter_segments(type="PT_LOAD")
        )
        tags = tuple(TAG.iter_unpack(_dynamic(data, dynamic)))
        is_movable = str(elf["e_type"]) == "ET_DYN"
        shared = Shared(data, segments, dynamic["p_offset"], tags, dynamic.num_symbols(), is_movable)
        _ = shared.symbols, shared.is_c_library  # both may lead out of the file
        return shared
    except Exception:  # pyelftools raises whatever it stumbles over in a damaged file
        return None


def _dynamic(data: bytes, dynamic: "DynamicSegment") -> bytes:
    """The dynamic section up to its end."""
    part = data[dynamic["p_offset"] : dynamic["p_offset"] + dynamic["p_filesz"]]
    end = next((at for at in range(0, len(part), TAG.size) if part[at : at + 8] == bytes(8)), len(part))
    return part[:end]


def _sound(shared: Shared, claims: Mapping[bytes, int]) -> bytes:
    """As ``_bind``; of a file whose tables lead out of it, the file unchanged: the error comes where it is loaded."""
    try:
        data = _bind(shared, claims)
    except (ValueError, LookupError, struct.error):
        return shared.data
    return data if len(data) == len(shared.data) else shared.data


def _bind(shared: Shared, claims: Mapping[bytes, int]) -> bytes:
    """The content with what can be bound turned into relative relocations, which stand first in their table."""
    data = bytearray(shared.data)
    plain = (RELOCATIONS.address, RELOCATIONS.global_data)
    main = [_relative(each, shared, claims, plain) for each in shared.relocations(DT_RELA, DT_RELASZ)]
    first = [each for each in main if each[1] == RELOCATIONS.relative]
    rest = [each for each in main if each[1] != RELOCATIONS.relative]
    if DT_RELACOUNT in shared.tags and main:
        _write(data, shared, DT_RELA, [*sorted(first), *rest])
        _count(data, shared, len(first))
    if shared.binds_at_start:  # else the linker expects nothing but functions to be bound in this table
        calls = [
            _relative(each, shared, claims, (RELOCATIONS.jump_slot,))
            for each in shared.relocations(DT_JMPREL, DT_PLTRELSZ)
        ]
        _write(data, shared, DT_JMPREL, calls)
    return bytes(data)


def _relative(entry: Relocation, shared: Shared, claims: Mapping[bytes, int], kinds: tuple[int, ...]) -> Relocation:
    """The relocation, or the relative one that comes to the same."""
    where, info, addend = entry
    if info & 0xFFFFFFFF not in kinds or not info >> 32:
        return entry
    symbol = shared.symbols[info >> 32]
    alone = symbol.is_plain and claims[symbol.name] == 1
    return (where, RELOCATIONS.relative, symbol.value + addend) if alone else entry


def _write(data: bytearray, shared: Shared, start: int, entries: list[Relocation]) -> None:
    if entries:
        at = shared.place(shared.tags[start])
        data[at : at + RELOCATION.size * len(entries)] = b"".join(RELOCATION.pack(*each) for each in entries)


def _count(data: bytearray, shared: Shared, count: int) -> None:
    """How many relative relocations stand first, so that the linker takes them in one go."""
    for number, (tag, _) in enumerate(shared.dynamic):
        if tag == DT_RELACOUNT:
            TAG.pack_into(data, shared.dynamic_at + TAG.size * number, tag, count)
