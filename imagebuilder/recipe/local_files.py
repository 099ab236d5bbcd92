"""Files beside the recipe: which there are for a name or a pattern. Nothing outside the recipe's folder is touched, no
link is followed, and each folder is read once, however a pattern asks for it.
"""

import fnmatch
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import Self

from imagebuilder.braces import alternatives
from imagebuilder.paths import real
from imagebuilder.recipe.values import LONGEST_PATH
from imagebuilder.words import counted

MOST_FILES = 200_000  # that are looked at for one pattern: a recipe's folder by mistake is a home, or /
MOST_CANDIDATES = 2_000  # to compare a wrong name with
ANY = "**"


def relative(text: str) -> str:
    """A path or pattern that stays in the recipe's folder. Raises ValueError with a sentence for the user."""
    if len(text) > LONGEST_PATH:
        raise ValueError(f"expected a path of at most {LONGEST_PATH:,} characters")
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("expected a path beside the recipe: relative and without '..'")
    return text


def folder(text: str) -> str:
    """A path as ``relative`` has it, or "." for the recipe's own folder. Raises ValueError."""
    return text if text in (".", "./") else relative(text)


def inside(folder: Path, name: str) -> bool:
    """Whether a path beside the recipe stays in the recipe's folder when all links are followed."""
    return real(folder / name).is_relative_to(real(folder))


def expand(folder: Path, pattern: str) -> tuple[str, ...]:
    """The files and empty folders that a pattern means, relative to the folder, sorted.

    ``*``, ``?``, ``[…]`` and ``{a,b}`` as in a shell, ``**`` any number of folders; hidden files count. A folder
    stands for all files and empty folders in it. A symbolic link counts as a file; nothing is found behind one to a
    folder. A pattern that finds empty folders only finds nothing: it was meant for files.

    Raises ValueError with a sentence for a pattern that leaves the folder, for a folder that cannot be read, and where
    more than ``MOST_FILES`` would have to be looked at.
    """
    wanted = tuple(_Wanted.of(relative(each)) for each in alternatives(relative(pattern)))
    files = sorted(_walk(folder, wanted))
    meant_for_files = any(sign in pattern for sign in "*?[")
    return () if meant_for_files and all(is_folder for _, is_folder in files) else tuple(name for name, _ in files)


def candidates(folder: Path) -> tuple[str, ...]:
    """Files in the folder, of very many the first: the nearest right name is one of them."""
    found: list[str] = []
    with suppress(ValueError):
        found.extend(name for name, _ in islice(_walk(folder, (_Wanted.of(ANY),)), MOST_CANDIDATES))
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A pattern name by name. What of it is matched so far is a set of numbers: of names that are still to come."""

    names: tuple[str, ...]
    folders_only: bool

    @classmethod
    def of(cls, pattern: str) -> Self:
        """One that ends with ``/`` or ``/**`` means folders, and links to such."""
        parts = PurePosixPath(pattern).parts
        names = tuple(name for key, equal in groupby(parts) for name in ([key] if key == ANY else equal))
        return cls(names, pattern.endswith("/") or (len(names) > 1 and names[-1] == ANY))

    def begun(self, numbers: Iterator[int]) -> frozenset[int]:
        """With the numbers behind each ``**``, which may stand for nothing."""
        return frozenset(each for number in numbers for each in (number, number + 1)[: 1 + self._is_any(number)])

    def after(self, numbers: frozenset[int], name: str) -> frozenset[int]:
        """What is still to come below ``name``."""
        return self.begun(number + (not self._is_any(number)) for number in numbers if self._takes(number, name))

    def _is_any(self, number: int) -> bool:
        return number < len(self.names) and self.names[number] == ANY

    def _takes(self, number: int, name: str) -> bool:
        if number == len(self.names):
            return False
        wanted = self.names[number]
        return wanted in (ANY, name) or fnmatch.fnmatchcase(name, wanted)

    def matched(self, numbers: frozenset[int], *, is_folder: bool) -> bool:
        """Whether nothing need come any more."""
        return len(self.names) in numbers and (is_folder or not self.folders_only)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is to be read: what each pattern has still to come in it, and whether all in it is wanted."""

    name: str
    numbers: tuple[frozenset[int], ...]
    whole: bool = False


def _walk(folder: Path, wanted: tuple[_Wanted, ...]) -> Iterator[tuple[str, bool]]:
    """The files and empty folders that any of the patterns means, and which of both each is."""
    pending = [_Folder("", tuple(each.begun(iter([0])) for each in wanted))]
    seen = 0
    while pending:
        here = pending.pop()
        entries = _entries(folder, here.name)
        seen += len(entries)
        if seen > MOST_FILES:
            raise ValueError(
                f"there are more than {counted(MOST_FILES, 'file')} to look at: name the folders that are meant"
            )
        if here.whole and not entries:
            yield here.name, True
        for entry in entries:
            inside = entry.is_dir(follow_symlinks=False)
            numbers = tuple(map(_Wanted.after, wanted, here.numbers, [entry.name] * len(wanted)))
            leads_in = inside or _leads_to_folder(entry)
            means = (each.matched(left, is_folder=leads_in) for each, left in zip(wanted, numbers, strict=True))
            whole, name = here.whole or any(means), f"{here.name}/{entry.name}".lstrip("/")
            if not inside and whole:
                yield name, False
            elif inside and (whole or any(numbers)):
                pending.append(_Folder(name, numbers, whole))


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    """Whether a link ends at a folder; a loop of links ends nowhere."""
    with suppress(OSError):
        return link.is_dir()
    return False


def _entries(folder: Path, name: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder / name) as entries:
            return list(islice(entries, MOST_FILES + 1))
    except OSError as error:
        raise ValueError(f"{name or folder} cannot be read: {error.strerror}") from error
