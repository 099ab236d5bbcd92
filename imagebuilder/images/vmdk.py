"""VMDK, streamOptimized: what VMware takes for an import, and what is in an OVA."""

import re
import struct
from pathlib import Path

from imagebuilder.bundle import Bundle
from imagebuilder.errors import OutputError
from imagebuilder.images import disk
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.gpt import SECTOR_BYTES
from imagebuilder.images.qemu_img import TOOL, converted

NAME = "vmdk"
WORDS = ("-O", NAME, "-o", "subformat=streamOptimized,adapter_type=lsilogic,hwversion=13")
# qemu-img makes it up, with as many digits as it has; it tells a disk from what it was before it was written to.
CONTENT_ID = re.compile(rb"\nCID=[0-9a-f]{1,8}\n")
PLACE = struct.Struct("<28xQQ")  # in the header: the descriptor's first sector, and how many it has


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it; no time is in it."""
    del epoch_s
    with converted(bundle, path, *WORDS) as made:
        settle(made, bundle.image.digest)
    return disk.artifact(bundle, path, NAME)


def settle(path: Path, digest: str) -> None:
    """Give it a number of its content. Raises OutputError."""
    with path.open("r+b") as stream:
        first, sectors = PLACE.unpack(stream.read(PLACE.size))
        stream.seek(first * SECTOR_BYTES)
        old = stream.read(sectors * SECTOR_BYTES)
        new, found = CONTENT_ID.subn(f"\nCID={digest[:8]}\n".encode(), old.rstrip(b"\0"), count=1)
        if not found or len(new) > len(old):
            raise OutputError(f"{path.name}: {TOOL} wrote a descriptor without a CID")
        stream.seek(first * SECTOR_BYTES)
        stream.write(new.ljust(len(old), b"\0"))


def media(made: Artifact) -> Media:
    """What a machine starts from."""
    return Media(disks=(DiskImage(made.file, NAME),))
