"""A toy image format: the test lays this file down as ``imagebuilder/images/toy.py``, and adds its row to the table."""

from pathlib import Path

from imagebuilder.arch import Firmware
from imagebuilder.bundle import Bundle
from imagebuilder.filesystems.common import replacing
from imagebuilder.images.format import Artifact, DiskImage, ImageFormat, Media

SECTOR_BYTES = 512


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """A disk whose first sector says what follows: the kernel, and the root."""
    head = f"toy {bundle.image.name} {bundle.image.digest} {epoch_s}".encode().ljust(SECTOR_BYTES, b"\0")
    with replacing(path) as temporary:
        temporary.write_bytes(head + bundle.kernel.read_bytes() + bundle.root.read_bytes())
    return Artifact.of(bundle, path, format_name=ROW.name, firmware=(Firmware.BIOS,), minimum_disk_mib=16)


def media(artifact: Artifact) -> Media:
    """It is the first disk."""
    return Media(disks=(DiskImage(artifact.file),))


ROW = ImageFormat("toy", ".toy", "a disk to play with", write, media)
