"""A FAT16 with one file: read by other tools, whatever the file's size."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from imagebuilder.errors import InputError
from imagebuilder.images.fat import Volume

NAME = PurePosixPath("EFI/BOOT/BOOTX64.EFI")
NUMBER = 0x1234ABCD


def told(*words: str | Path) -> bytes:
    """What another program says of it."""
    return subprocess.run([*words], capture_output=True, check=True).stdout


def of(size: int, path: PurePosixPath = NAME, aligned_sectors: int = 8) -> Volume:
    return Volume.of(path, size, number=NUMBER, hidden_sectors=40, aligned_sectors=aligned_sectors)


@pytest.mark.tools
@pytest.mark.parametrize("path", ["A", "EFI/X.Y", str(NAME)])
@pytest.mark.parametrize("size", [0, 1, 512, 513, 2_000_000, 3_400_000, 40_000_000])
def test_other_tools_read_it(tmp_path: Path, size: int, path: str) -> None:
    volume, image = of(size, PurePosixPath(path)), tmp_path / "volume"
    content = bytes(range(251)) * (size // 251 + 1)
    with image.open("wb") as stream:
        stream.write(volume.head)
        assert stream.tell() == volume.file_sector * 512 and volume.file_sector % 8 == 0
        stream.write(content[:size])
        stream.truncate(volume.sectors * 512)
    told("fsck.vfat", "-n", image)
    assert told("mtype", "-i", image, f"::/{path}") == content[:size]
    assert b"1234-ABCD" in told("mdir", "-i", image, "::/")


@pytest.mark.parametrize("size", [1 << 20, 3 << 20, 30 << 20, 300 << 20, 2000 << 20])
def test_what_it_adds_is_little(size: int) -> None:
    volume = of(size)
    clusters = (volume.sectors - volume.file_sector) // volume.cluster_sectors
    assert 4085 <= clusters + 2 <= 65524
    assert volume.sectors * 512 - max(size, 4083 * 512) <= max(64 << 10, size // 1000)


def test_one_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=r"what UEFI starts would have 3,000,000,000 bytes, and a FAT16 has no room"):
        of(3_000_000_000)
