"""A disk in another format, by ``qemu-img``: one job at a time, which gives the same bytes each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from imagebuilder import process
from imagebuilder.bundle import Bundle
from imagebuilder.filesystems.common import replacing
from imagebuilder.images import disk

TOOL = "qemu-img"


@contextmanager
def converted(bundle: Bundle, path: Path, *words: str, unit_bytes: int = disk.ALIGNED_BYTES) -> Iterator[Path]:
    """The image's disk as ``qemu-img convert`` writes it with these words, to be changed before it stands at the path.

    Formats that write their own name down have the path's. Raises what ``disk.lay_down`` does, ToolMissing, ToolFailed.
    """
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        raw, made = Path(folder) / "raw", Path(folder) / path.name
        disk.lay_down(bundle, raw, unit_bytes)
        process.run([TOOL, "convert", "-f", "raw", "-m", "1", *words, raw, made])
        yield made
        with replacing(path) as temporary:
            made.replace(temporary)
