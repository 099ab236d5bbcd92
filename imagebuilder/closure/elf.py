"""What an ELF file says about what it needs. Layout: gABI, "Dynamic Section"; read with pyelftools."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagebuilder.arch import TARGET

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
MAX_TAGS = 4096  # a dynamic section has dozens


class DamagedElf(ValueError):
    """It begins as an ELF file, and goes on as something else."""


@dataclass(frozen=True, slots=True)
class Elf:
    """The parts of an ELF file that the dynamic linker goes by; ``machine`` and ``bits`` as in ``Architecture.elf``."""

    machine: str
    bits: int
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    is_program: bool = False

    @property
    def runs_here(self) -> bool:
        """Whether it is for the processor that images are made for."""
        return (self.machine, self.bits) == TARGET.elf


def is_elf(data: bytes) -> bool:
    """Whether a content begins as an ELF file."""
    return data.startswith(MAGIC)


def parse(data: bytes) -> Elf:
    """Read an ELF file. Raises DamagedElf."""
    from elftools.elf.elffile import ELFFile  # here, since a build with nothing changed reads none

    try:
        return _parse(ELFFile(io.BytesIO(data)))
    except Exception as error:  # pyelftools raises whatever it stumbles over in a damaged file
        raise DamagedElf(str(error) or type(error).__name__) from error


def _parse(elf: "ELFFile") -> Elf:
    segments = list(_segments(elf))
    interpreter = next((segment.get_interp_name() for kind, segment in segments if kind == "PT_INTERP"), None)
    dynamic = next((segment for kind, segment in segments if kind == "PT_DYNAMIC"), None)
    tags = list(_tags(dynamic)) if dynamic is not None and dynamic["p_filesz"] else []

    def texts(wanted: str) -> tuple[str, ...]:
        return tuple(text for tag, text in tags if tag == wanted)

    return Elf(
        machine=str(elf["e_machine"]),
        bits=elf.elfclass,
        interpreter=interpreter,
        needed=texts("DT_NEEDED"),
        rpath=_folders(texts("DT_RPATH")),
        runpath=_folders(texts("DT_RUNPATH")),
        is_program=interpreter is not None or elf["e_type"] == "ET_EXEC",
    )


def _segments(elf: "ELFFile") -> Iterator[tuple[str, Any]]:
    for number in range(elf.num_segments()):
        segment = elf.get_segment(number)
        yield str(segment["p_type"]), segment


def _tags(dynamic: "DynamicSegment") -> Iterator[tuple[str, str]]:
    """The tags that name something: the attribute in which pyelftools gives the text is called as the tag."""
    for number, tag in enumerate(dynamic.iter_tags()):
        if number > MAX_TAGS:
            raise DamagedElf("its dynamic section has no end")
        name = str(tag.entry.d_tag)
        if name in ("DT_NEEDED", "DT_RPATH", "DT_RUNPATH"):
            yield name, str(getattr(tag, name.removeprefix("DT_").lower()))


def _folders(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(folder for value in values for folder in value.split(":") if folder)
