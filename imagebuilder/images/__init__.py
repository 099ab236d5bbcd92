"""The formats in which an image can be written, one row each: ``IMAGES[name].write(bundle, path, epoch_s=…)``.

``build --format``, its completion and its help, the key of the step that makes one and ``docs/formats.md`` follow the
table.
"""

from collections.abc import Mapping

from imagebuilder.images import direct, disk, gcp, qcow2, vhd, vmdk
from imagebuilder.images.format import Artifact, DiskImage, ImageFormat, Media, Medium
from imagebuilder.images.qemu_img import TOOL

QEMU_IMG = (TOOL,)

ROWS = (
    ImageFormat(direct.NAME, "", "the bundle: a folder with kernel, root and command line", direct.write, direct.media),
    ImageFormat(disk.NAME, ".raw", "a raw disk", disk.write, disk.media, (), disk.FIRMWARE),
    ImageFormat(
        qcow2.NAME,
        ".qcow2",
        "QEMU, OpenStack and Proxmox: compressed",
        qcow2.write,
        qcow2.media,
        QEMU_IMG,
        disk.FIRMWARE,
    ),
    ImageFormat(
        vmdk.NAME, ".vmdk", "VMware: streamOptimized, for an import", vmdk.write, vmdk.media, QEMU_IMG, disk.FIRMWARE
    ),
    ImageFormat(
        vhd.NAME,
        ".vhd",
        "Azure, and Hyper-V's first generation: a fixed size of whole MiB",
        vhd.write,
        vhd.media,
        QEMU_IMG,
        disk.FIRMWARE,
    ),
    ImageFormat(
        gcp.NAME,
        ".tar.gz",
        "Google's Compute Engine: `disk.raw` of a whole GiB in an archive",
        gcp.write,
        gcp.media,
        (),
        disk.FIRMWARE,
        bootable=False,
    ),
)
IMAGES: Mapping[str, ImageFormat] = {row.name: row for row in ROWS}

__all__ = ["IMAGES", "Artifact", "DiskImage", "ImageFormat", "Media", "Medium"]
