"""Files beside the recipe: which there are for a name or a pattern. Nothing outside the recipe's folder is touched."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from imagebuilder.braces import alternatives


def relative(text: str) -> str:
    """A path or pattern that stays in the recipe's folder. Raises ValueError with a sentence for the user."""
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("expected a path beside the recipe: relative and without '..'")
    return text


def expand(folder: Path, pattern: str) -> tuple[str, ...]:
    """The files and empty folders that a pattern means, relative to the folder, sorted.

    ``*``, ``?``, ``[…]`` and ``{a,b}`` as in a shell, ``**`` any number of folders; hidden files count. A folder
    stands for all files and empty folders in it. A symbolic link counts as a file; nothing is found behind one to a
    folder. A pattern that finds empty folders only finds nothing: it was meant for files.
    """
    found = [match for each in alternatives(relative(pattern)) for match in _matches(folder, each)]
    files = {name for match in found if not _behind_link(folder, match) for name in _files(folder, match)}
    meant_for_files = any(sign in pattern for sign in "*?[")
    return () if meant_for_files and all(_is_plain_folder(folder / name) for name in files) else tuple(sorted(files))


def _is_plain_folder(path: Path) -> bool:
    return is_folder(path) and not path.is_symlink()


def _matches(folder: Path, pattern: str) -> list[str]:
    return glob.glob(pattern, root_dir=folder, recursive=True, include_hidden=True)  # noqa: PTH207


def candidates(folder: Path) -> tuple[str, ...]:
    """All files in the folder: the nearest right name is one of them."""
    return tuple(sorted(_files(folder, ".")))


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that the file system cannot have is none."""
    with suppress(OSError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that the file system cannot have is none."""
    with suppress(OSError):
        return path.is_dir()
    return False


def _files(folder: Path, match: str) -> Iterator[str]:
    path = folder / match
    if not os.path.lexists(path):
        return  # ``nothing/**`` is said to match "nothing/"
    if path.is_symlink() or not is_folder(path):  # a FIFO, too: whoever takes it says what it thinks of that
        yield PurePosixPath(match).as_posix()
        return
    for here, folders, files in os.walk(path):
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        if not folders and not files and Path(here) != folder:
            yield Path(here).relative_to(folder).as_posix()
        yield from ((Path(here) / name).relative_to(folder).as_posix() for name in (*files, *links))


def _behind_link(folder: Path, match: str) -> bool:
    return any((folder / parent).is_symlink() for parent in PurePosixPath(match).parents[:-1])
