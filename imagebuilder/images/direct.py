"""The bundle's own folder: kernel, root and command line, as QEMU (``-kernel``) and other machines load them."""

import shutil
import tempfile
from pathlib import Path

from imagebuilder.arch import Firmware
from imagebuilder.bundle import Bundle
from imagebuilder.errors import OutputError
from imagebuilder.images.format import Artifact, DiskImage, Media

NAME = "direct"


def write(bundle: Bundle, path: Path, *, epoch_s: int) -> Artifact:
    """Lay it down there; where it stands already nothing is written. No time is in it. Raises OutputError."""
    del epoch_s
    if path.absolute() != bundle.folder.absolute():
        _copy(bundle, path)
    return Artifact.of(bundle, path, format_name=NAME, firmware=(Firmware.DIRECT,))


def _copy(bundle: Bundle, path: Path) -> None:
    try:
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            for file in (*bundle.files(), *bundle.documents()):
                shutil.copyfile(file, staging / file.name)
            staging.chmod(0o755)
            staging.rename(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def media(artifact: Artifact) -> Media:
    """What a machine loads. Raises InputError where no bundle stands."""
    return media_of(Bundle.open(artifact.file, check=False))


def media_of(bundle: Bundle) -> Media:
    """The same of a bundle."""
    kernel, root = bundle.kernel.absolute(), bundle.root.absolute()
    return Media(kernel, disks=(DiskImage(root),)) if bundle.image.root.is_disk else Media(kernel, initrd=root)
