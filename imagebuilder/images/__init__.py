"""The formats in which an image can be written, one row each: ``IMAGES[name].write(bundle, path, epoch_s=…)``.

``build --format``, its completion and its help, the key of the step that makes one and ``docs/formats.md`` follow the
table.
"""

from collections.abc import Mapping

from imagebuilder.images import direct, disk
from imagebuilder.images.format import Artifact, DiskImage, ImageFormat, Media

ROWS = (
    ImageFormat(direct.NAME, "", "the bundle: a folder with kernel, root and command line", direct.write, direct.media),
    disk.RAW_ROW,
    disk.QCOW2_ROW,
)
IMAGES: Mapping[str, ImageFormat] = {row.name: row for row in ROWS}

__all__ = ["IMAGES", "Artifact", "DiskImage", "ImageFormat", "Media"]
