"""How often each branch of a kernel ran: the counters that GCC puts into one, and the files it reads them back from.

An object compiled with ``-fprofile-arcs`` has counters, a description of them (``struct gcov_info`` of GCC's
``libgcov.h``), and a constructor that would hand the description to a library. A kernel has neither library nor file
system for that, and needs none: descriptions are read out of ``vmlinux``, counters out of the guest's memory.

What is written are ``.gcda`` files, one beside each object (GCC: ``gcov-io.h``), for ``-fbranch-probabilities``.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from os.path import commonpath, relpath
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.segments import Segment

from imagebuilder import documents
from imagebuilder.errors import KernelError
from imagebuilder.kernel.definition import KernelDefinition
from imagebuilder.words import printable

MAGIC, SUMMARY, FUNCTION, COUNTERS = 0x67636461, 0xA1000000, 0x01000000, 0x01A10000
MADE_BY = 0x4232322A  # "B22*": GCC 12, as it signs its files. The layouts here are that version's
KINDS = 8  # of counters that GCC 12 knows; only the first, how often a branch ran, is used here
# A branch is worth some bytes from this part of the greatest count on (GCC: --param hot-bb-count-fraction).
FRACTION = 10_000
LONGEST_NAME = 512
MOST_BYTES = 128 << 20  # micro has 7 MB with its counters
MOST_PARTS, MOST_FUNCTIONS, MOST_COUNTERS_BYTES = 10_000, 1 << 18, 64 << 20
COUNTING = "count-arcs"  # the patch
CONSTRUCTORS = ".init_array"
LOADS = (b"\x48\xc7\xc7", b"\x48\x8d\x3d")  # mov $description, %rdi and lea description(%rip), %rdi


@dataclass(frozen=True, slots=True)
class Function:
    """One function's counters: their number and address, and how GCC knows the function again."""

    ident: int
    line: int
    shape: int
    counters: int
    address: int


@dataclass(frozen=True, slots=True)
class ObjectCounters:
    """One object: the file for its counts, from the tree's root, and the words that the file begins with."""

    file: str
    stamp: int
    checksum: int
    functions: tuple[Function, ...]


@contextmanager
def _readable() -> Iterator[None]:
    """What is stumbled over in a damaged file is a KernelError, whatever pyelftools and ``struct`` raise."""
    try:
        yield
    except KernelError:
        raise
    except Exception as error:
        said = printable(str(error)) or type(error).__name__
        raise KernelError(f"the counted kernel is damaged: {said}") from error


class Image:
    """The memory of an unpacked kernel, as its file has it."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises KernelError."""
        with _readable():
            self._bytes = documents.read(path, MOST_BYTES)
            if len(self._bytes) > MOST_BYTES:
                raise KernelError(f"the counted kernel {path} has more than {MOST_BYTES >> 20} MiB, as no kernel has")
            self._elf = ELFFile(BytesIO(self._bytes))
            if max(self._elf.num_segments(), self._elf.num_sections()) > MOST_PARTS:
                raise KernelError(f"the counted kernel {path} has more than {MOST_PARTS} sections, as no kernel has")
            self._loaded = [each for each in self._elf.iter_segments() if each["p_type"] == "PT_LOAD"]

    def physical(self, address: int) -> int:
        """Where the kernel's boot loader puts it."""
        segment = self._segment(address, "p_memsz")
        return int(segment["p_paddr"] + address - segment["p_vaddr"])

    def read(self, address: int, size: int) -> bytes:
        """Some bytes."""
        segment = self._segment(address, "p_filesz")
        at = segment["p_offset"] + address - segment["p_vaddr"]
        return self._bytes[at : at + size]

    def words(self, layout: str, address: int) -> tuple[int, ...]:
        """Some numbers."""
        return struct.unpack(layout, self.read(address, struct.calcsize(layout)))

    def constructors(self) -> Iterator[int]:
        """The addresses of the constructors, in the order of the link."""
        for section in self._elf.iter_sections():
            if section.name.startswith(CONSTRUCTORS) and not section.compressed:
                yield from (entry for (entry,) in struct.iter_unpack("<Q", section.data()))

    def _segment(self, address: int, size: str) -> Segment:
        for each in self._loaded:
            if each["p_vaddr"] <= address < each["p_vaddr"] + each[size]:
                return each
        raise KernelError(f"the counted kernel has nothing at {address:#x}")


def counted(definition: KernelDefinition) -> KernelDefinition:
    """The same kernel with counters in it, compiled as if nothing were known yet. Raises KernelError."""
    if definition.config is None:
        raise KernelError(f"the kernel {definition.name} comes ready from a package: nothing in it can be counted")
    config = definition.config.model_copy(
        update={"patches": (*definition.config.patches, COUNTING), "profile": None, "variants": ()}
    )
    return definition.model_copy(update={"config": config})


def units(image: Image) -> tuple[ObjectCounters, ...]:
    """All objects with counters. Raises KernelError when there are none, another compiler's, or the image is
    damaged."""
    found: list[ObjectCounters] = []
    left = MOST_FUNCTIONS
    with _readable():
        for entry in image.constructors():
            found.append(_unit(image, _description(image, entry), left))
            left -= 1 + len(found[-1].functions)
        if not found:
            raise KernelError("no object of the counted kernel has counters")
        tree = commonpath(str(Path(unit.file).parent) for unit in found)
        files = [relpath(unit.file, tree) for unit in found]
        if outside := next((file for file in files if file.startswith("..")), None):
            raise KernelError(f"the counted kernel is damaged: {printable(outside)} is not in its tree")
        return tuple(replace(unit, file=file) for unit, file in zip(found, files, strict=True))


def window(found: Sequence[ObjectCounters]) -> tuple[int, int]:
    """The address and the size of the memory in which all counters are. Raises KernelError when that is more than any
    kernel has, or less than they take."""
    functions = [each for unit in found for each in unit.functions]
    ranges = [(each.address, each.address + 8 * each.counters) for each in functions]
    first, last = min((begin for begin, _ in ranges), default=0), max((end for _, end in ranges), default=0)
    if not 8 * sum(each.counters for each in functions) <= last - first <= MOST_COUNTERS_BYTES:
        raise KernelError("the counted kernel is damaged: its counters lie over each other, or far from each other")
    return first, last - first


def counts(function: Function, memory: bytes, begin: int) -> tuple[int, ...]:
    """The counts of a function, in memory that begins at that address."""
    return struct.unpack_from(f"<{function.counters}Q", memory, function.address - begin)


def gcda(unit: ObjectCounters, counted: Sequence[Sequence[int]], *, hot: int) -> bytes:
    """The file for an object with the counts of its functions; from ``hot`` on a branch is worth some bytes."""
    words = [
        struct.pack("<IIII", MAGIC, MADE_BY, unit.stamp, unit.checksum),
        struct.pack("<IiII", SUMMARY, 8, 1, hot * FRACTION),
        *(_record(each, numbers) for each, numbers in zip(unit.functions, counted, strict=True)),
        bytes(4),
    ]
    return b"".join(words)


def _record(function: Function, numbers: Sequence[int]) -> bytes:
    head = struct.pack("<IiIII", FUNCTION, 12, function.ident, function.line, function.shape)
    size = 8 * len(numbers)
    if not any(numbers):
        return head + struct.pack("<Ii", COUNTERS, -size)
    return head + struct.pack(f"<Ii{len(numbers)}Q", COUNTERS, size, *numbers)


def _description(image: Image, constructor: int) -> int:
    """What a constructor hands over."""
    code = image.read(constructor, 16)
    for load in LOADS:
        at = code.find(load, 0, 8)
        if at >= 0:
            (number,) = struct.unpack_from("<i", code, at + len(load))
            begin = constructor + at + 7 if load == LOADS[1] else 0
            return int(begin + number) % (1 << 64)
    raise KernelError(f"the constructor at {constructor:#x} of the counted kernel is none of GCC 12's")


def _unit(image: Image, address: int, most_functions: int) -> ObjectCounters:
    version, _, _, stamp, checksum, name = image.words("<IIQIIQ", address)
    if version != MADE_BY:
        raise KernelError("kernels are counted by GCC 12 only: other versions write other descriptions")
    number, _, table = image.words("<IIQ", address + 32 + 8 * KINDS)
    if number >= most_functions:
        raise KernelError(f"the counted kernel has more than {MOST_FUNCTIONS:,} functions, as no kernel has")
    entries = image.words(f"<{number}Q", table)
    functions = (_function(image, entry) for entry in entries if entry)
    file = image.read(name, LONGEST_NAME).split(b"\0", 1)[0].decode()
    return ObjectCounters(file, stamp, checksum, tuple(functions))


def _function(image: Image, address: int) -> Function:
    _, ident, line, shape, _, number, _, values = image.words("<QIIIIIIQ", address)
    return Function(ident, line, shape, number, values)
