"""UEFI for QEMU's machines: which files of firmware this host has.

They are described in JSON, one file each (QEMU's docs/interop/firmware.json), as the packages of distributions install
them; ``ETC`` overrides ``SHARE`` by the file's name, and the first in the order of names that fits is taken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from imagebuilder import documents
from imagebuilder.arch import TARGET, MachineType
from imagebuilder.errors import ToolMissing

SHARE, ETC = Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware")
NEEDS_MORE = {"requires-smm", "enrolled-keys", "secure-boot"}  # than a machine of ours has
PACKAGE = "ovmf"


@dataclass(frozen=True, slots=True)
class Flash:
    """The firmware's code, and what its variables begin as; a machine changes neither of the files."""

    code: Path
    variables: Path


def find(machine: MachineType, folders: tuple[Path, ...] = (ETC, SHARE)) -> Flash:
    """UEFI without Secure Boot for a machine. Raises ToolMissing."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob("*.json"):
            found.setdefault(path.name, path)
    flashes = (flash for _, path in sorted(found.items()) for flash in _of(path, machine))
    flash = next(flashes, None)
    if flash is None:
        raise ToolMissing(f"no UEFI for QEMU's {machine} is installed", hint=f"sudo apt-get install {PACKAGE}")
    return flash


def _of(path: Path, machine: MachineType) -> Iterator[Flash]:
    """What a description has for the machine: nothing where it is of something else, or none that can be read."""
    try:
        described = documents.load_json(path)
        mapping = described["mapping"]
        parts = (mapping["executable"], mapping["nvram-template"])
        fits = (
            "uefi" in described["interface-types"]
            and mapping["device"] == "flash"
            and not NEEDS_MORE.intersection(described["features"])
            and all(each["format"] == "raw" for each in parts)
            and any(_is_for(target, machine) for target in described["targets"])
        )
        code, variables = (Path(each["filename"]) for each in parts)
    except (OSError, documents.Damaged, KeyError, TypeError, AttributeError):
        return
    if fits and code.is_file() and variables.is_file():
        yield Flash(code, variables)


def _is_for(target: Mapping[str, Any], machine: MachineType) -> bool:
    names = any(fnmatch(machine.versioned, pattern) for pattern in target["machines"])
    return bool(target["architecture"] == TARGET.name and names)
