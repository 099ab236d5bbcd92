"""VHD of a fixed size, a multiple of 1 MiB: Azure, and Hyper-V's machines of the first generation.

The last 512 bytes are its footer (Microsoft's "Virtual Hard Disk Image Format Specification", 1.0).
"""

import struct
from pathlib import Path
from uuid import uuid5

from imagebuilder.bundle import Bundle
from imagebuilder.images import disk
from imagebuilder.images.format import Artifact, DiskImage, Media
from imagebuilder.images.qemu_img import converted

NAME, QEMU_NAME = "vhd", "vpc"
UNIT_BYTES = 1 << 20
FOOTER_BYTES = 512
TIME, CHECKSUM, NUMBER = 24, 64, 68  # offsets in the footer
SINCE_S = 946_684_800  # its times begin with the year 2000
LARGEST_32 = 0xFFFF_FFFF


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Write it."""
    words = ("-O", QEMU_NAME, "-o", "subformat=fixed,force_size=on")
    with converted(bundle, path, *words, unit_bytes=UNIT_BYTES) as made, made.open("r+b") as stream:
        place = stream.seek(-FOOTER_BYTES, 2)
        footer = settled(stream.read(), uuid5(disk.NUMBERS, f"vhd {bundle.image.digest}").bytes, epoch_s)
        stream.seek(place)
        stream.write(footer)
    return disk.artifact(bundle, path, NAME, UNIT_BYTES)


def settled(footer: bytes, number: bytes, epoch_s: int) -> bytes:
    """A footer with this number and time, where qemu-img makes up one and takes the other from its clock."""
    made = bytearray(footer)
    struct.pack_into(">I", made, TIME, min(max(epoch_s - SINCE_S, 0), LARGEST_32))
    struct.pack_into(">I", made, CHECKSUM, 0)
    made[NUMBER : NUMBER + 16] = number
    struct.pack_into(">I", made, CHECKSUM, ~sum(made) & LARGEST_32)
    return bytes(made)


def media(made: Artifact) -> Media:
    """What a machine starts from."""
    return Media(disks=(DiskImage(made.file, QEMU_NAME),))
