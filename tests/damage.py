"""Ways to damage a file of a cache."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path


def flip(path: Path) -> None:
    """Change one bit in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def into_a_folder(path: Path) -> None:
    """Put a folder that is not empty in its place."""
    path.unlink()
    path.mkdir()
    (path / "file").touch()


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
    "a folder": into_a_folder,
}
