"""What an image format is: a row, and the values that it gives."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from imagebuilder.arch import TARGET, Firmware
from imagebuilder.bundle import Bundle
from imagebuilder.store import sha256, sha256_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An image in one format: what there is to send, and what a machine must have to boot it."""

    format: str
    file: Path
    """A file; of the format that is the bundle itself, its folder."""
    bytes: int
    sha256: str
    """Of the file; of a folder, of what ``sha256sum`` prints of its files."""
    architecture: str
    firmware: tuple[Firmware, ...]
    """What starts it."""
    minimum_disk_mib: int
    """The size of the disk that it is put on; 0: it is put on none."""
    minimum_memory_mib: int
    """With which the recipe says that it gets ready."""
    digest: str
    """Of the image, as ``image.json`` has it: the same in every format."""

    @classmethod
    def of(
        cls, bundle: Bundle, file: Path, *, format_name: str, firmware: tuple[Firmware, ...], minimum_disk_mib: int = 0
    ) -> Self:
        """What was made of a bundle: a file, or a folder with a bundle's files."""
        image = bundle.image
        files = Bundle(file, image).files() if file.is_dir() else (file,)
        lines = [f"{sha256_file(each)}  {each.name}\n" for each in files]
        return cls(
            format=format_name,
            file=file,
            bytes=sum(each.stat().st_size for each in files),
            sha256=sha256("".join(lines).encode()) if file.is_dir() else lines[0].partition(" ")[0],
            architecture=TARGET.name,
            firmware=firmware,
            minimum_disk_mib=minimum_disk_mib,
            minimum_memory_mib=image.budget.memory_mib or image.boot.memory_mib,
            digest=image.digest,
        )

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "file": str(self.file), "firmware": [*self.firmware]}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """What ``describe`` gave."""
        firmware = tuple(map(Firmware, document["firmware"]))
        return cls(**{**document, "file": Path(document["file"]), "firmware": firmware})


@dataclass(frozen=True, slots=True)
class DiskImage:
    """A file with the content of a disk, and how QEMU is to read it (``raw``, ``qcow2``)."""

    path: Path
    format: str = "raw"


@dataclass(frozen=True, slots=True)
class Media:
    """What a machine starts an artifact from: a kernel that it loads, or else the first disk. What the machine is like
    besides stands in ``image.json``."""

    kernel: Path | None = None
    initrd: Path | None = None
    disks: tuple[DiskImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Medium:
    """An image in another format than the bundle, as a machine starts it, and by which firmware."""

    format: str
    media: Media
    firmware: Firmware


class Write(Protocol):
    """Write a bundle in a format to a path, whole or not at all; the bytes depend on the bundle and ``epoch_s`` only.
    Raises OutputError, ToolMissing, ToolFailed."""

    def __call__(self, bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
        """Write it."""


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One format of images."""

    name: str
    suffix: str
    """Of the file beside the bundle's folder; none: it is that folder."""
    summary: str
    write: Write
    media: Callable[[Artifact], Media]
    tools: tuple[str, ...] = ()
    firmware: tuple[Firmware, ...] = (Firmware.DIRECT,)
    """What starts it: a kernel must be one that each of these can start."""
    bootable: bool = True
    """Whether QEMU can read its file; else it is for an import elsewhere."""

    @property
    def starts(self) -> bool:
        """Whether firmware of QEMU's machines starts it, as ``run --format`` has them do."""
        return Firmware.DIRECT not in self.firmware and self.bootable

    @property
    def is_bundle(self) -> bool:
        """Whether an image in this format is the bundle's folder, which every build writes."""
        return not self.suffix
