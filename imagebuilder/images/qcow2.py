"""qcow2, compressed: QEMU, OpenStack, Proxmox."""

from pathlib import Path

from imagebuilder.bundle import Bundle
from imagebuilder.images import disk
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.qemu_img import converted

NAME = "qcow2"


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it; no time is in it."""
    del epoch_s
    with converted(bundle, path, "-O", NAME, "-c"):
        pass
    return disk.artifact(bundle, path, NAME)


def media(made: Artifact) -> Media:
    """What a machine starts from."""
    return Media(disks=(DiskImage(made.file, NAME),))
