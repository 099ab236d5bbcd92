"""VMDK, streamOptimized: what VMware takes for an import, and what is in an OVA."""

import re
from pathlib import Path

from imagebuilder.bundle import Bundle
from imagebuilder.errors import OutputError
from imagebuilder.images import disk
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.qemu_img import TOOL, converted

NAME = "vmdk"
WORDS = ("-O", NAME, "-o", "subformat=streamOptimized,adapter_type=lsilogic,hwversion=13")
# qemu-img makes it up; it tells a disk from what it was before it was written to.
CONTENT_ID = re.compile(rb"\nCID=([0-9a-f]{8})\n")
DESCRIPTOR_BYTES = 1 << 16  # it stands within them


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it; no time is in it."""
    del epoch_s
    with converted(bundle, path, *WORDS) as made:
        settle(made, bundle.image.digest)
    return disk.artifact(bundle, path, NAME)


def settle(path: Path, digest: str) -> None:
    """Give it a number of its content. Raises OutputError."""
    with path.open("r+b") as stream:
        found = CONTENT_ID.search(stream.read(DESCRIPTOR_BYTES))
        if found is None:
            raise OutputError(f"{path.name}: {TOOL} wrote a descriptor without a CID")
        stream.seek(found.start(1))
        stream.write(digest[:8].encode())


def media(made: Artifact) -> Media:
    """What a machine starts from."""
    return Media(disks=(DiskImage(made.file, NAME),))
