"""Keeps the cache small and whole: what is in it, what was not used for the longest time, what is damaged.

An entry counts as used when a build reads it, or finds that it is there. An entry can be removed at any time:
a build makes again what it misses. What was chosen (which packages in which versions) is no entry, and stays.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from imagebuilder import documents, private
from imagebuilder.errors import CacheError, InputError
from imagebuilder.events import Note, Say
from imagebuilder.private import remove
from imagebuilder.store import ONLY_READ, Store, sha256_file

LIMIT = "IMAGEBUILDER_CACHE_LIMIT"
USUAL_LIMIT_BYTES = 5_000_000_000
UNITS: Mapping[str, int] = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# What was used in this time may belong to a build that goes on, which has not written down yet what it needs.
GRACE_S = 600.0
USED = "used"
BLOCK_BYTES = 512  # what st_blocks counts (stat(2))


class Kind(StrEnum):
    """What an entry is; the values are the names of its folder in the cache."""

    CONTENT = "blobs"
    RESULT = "records"
    PARTIAL = "partial"
    LISTS = "apt"
    TEMPLATE = "templates"


FILES = (Kind.CONTENT, Kind.RESULT, Kind.PARTIAL)
MEANING: Mapping[Kind, str] = {
    Kind.CONTENT: "contents: packages, kernels, files of images",
    Kind.RESULT: "results of build steps",
    Kind.PARTIAL: "downloads that were broken off",
    Kind.LISTS: "package lists of distributions",
    Kind.TEMPLATE: "templates of warm instances",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be removed: a file, or a folder with a lock ``used`` in it."""

    kind: Kind
    path: Path
    size_bytes: int
    used_s: float
    """When it was used last (Unix time)."""

    def remove(self, store: Store) -> bool:
        """Remove it; False when it is in use. A process that is killed meanwhile leaves nothing half removed."""
        if self.kind in FILES:
            remove(self.path)
            return True
        try:
            with held(self.path, fcntl.LOCK_EX | fcntl.LOCK_NB), store.scratch() as work:
                self.path.rename(work / self.path.name)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            pass  # another process was faster
        return True


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and what is left: ``busy`` of it was used too lately to be removed."""

    removed: int
    removed_bytes: int
    left_bytes: int
    busy: int


def limit_bytes() -> int | None:
    """How large the cache may grow: ``$IMAGEBUILDER_CACHE_LIMIT``, else 5 GB; None without a limit. Raises
    InputError."""
    words = os.environ.get(LIMIT, "")
    return size_of(words, what=LIMIT) if words else USUAL_LIMIT_BYTES


def size_of(words: str, *, what: str) -> int | None:
    """``10G`` or ``10GB`` (of 10^9 bytes), ``500M``, a number of bytes, or ``none``. Raises InputError."""
    if words.lower() == "none":
        return None
    plain = words.upper().removesuffix("B")
    number, unit = (plain[:-1], plain[-1:]) if plain[-1:] in UNITS else (plain, "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 15):
        raise InputError(f'{what}: "{words}" is no size', hint="such as 10G, 500M or none")
    return int(number) * UNITS.get(unit, 1)


def entries(store: Store) -> Iterator[Entry]:
    """All that the cache holds."""
    for kind in FILES:
        for path in (store.root / kind).glob("??/*"):
            with suppress(FileNotFoundError):
                found = path.lstat()
                yield Entry(kind, path, found.st_blocks * BLOCK_BYTES, found.st_mtime)
    for kind in (Kind.LISTS, Kind.TEMPLATE):
        for folder in (store.root / kind).glob("*/"):
            with suppress(FileNotFoundError):
                used = folder / USED
                used_s = (used if used.exists() else folder).stat().st_mtime
                yield Entry(kind, folder, _allocated_bytes(folder), used_s)


def prune(store: Store, most_bytes: int | None, *, spare_s: float = 0.0) -> Pruned:
    """Remove what was not used for the longest time until the rest is no larger than ``most_bytes``; what was used in
    the last ``spare_s`` seconds stays, and while others use the cache what was used in the last ten minutes."""
    found = sorted(entries(store), key=lambda entry: entry.used_s)
    left_bytes = sum(entry.size_bytes for entry in found)
    removed, busy = [], 0
    with store.alone() as alone:
        lately_s = time.time() - (spare_s if alone else max(spare_s, GRACE_S))
        for entry in found:
            if most_bytes is None or left_bytes <= most_bytes:
                break
            if entry.used_s > lately_s or not entry.remove(store):
                busy += 1
                continue
            removed.append(entry)
            left_bytes -= entry.size_bytes
        if alone:
            store.drop_locks()
    return Pruned(len(removed), sum(entry.size_bytes for entry in removed), left_bytes, busy)


def sweep(store: Store, say: Say) -> None:
    """After a build: keep the cache within its limit. Raises InputError for a limit that is none."""
    pruned = prune(store, limit_bytes(), spare_s=GRACE_S)
    if pruned.removed:
        freed = f"{pruned.removed_bytes / 1e6:,.1f} MB"
        say(Note(f"the cache is kept within its limit: {freed} that were not used for the longest time are removed"))


def verify(store: Store) -> tuple[int, list[Path]]:
    """Read every content, result and template; returns how many there are, and those that were damaged and are removed
    (a template in use only after its last use). Package lists are checked when they are used,
    downloads when they are gone on with."""
    store.check_writable()
    damaged, count = [], 0
    for entry in entries(store):
        if entry.kind not in _WHOLE:
            continue
        count += 1
        if not _WHOLE[entry.kind](store, entry.path):
            entry.remove(store)
            damaged.append(entry.path)
    return count, damaged


def _content_whole(store: Store, path: Path) -> bool:
    with suppress(CacheError):
        store.blob(path.name, touch=False)
    return path.exists()


def _result_whole(store: Store, path: Path) -> bool:
    return store.record(path.name, touch=False) is not None


def _template_whole(_store: Store, folder: Path) -> bool:
    """Whether its files are those that its document names; an older document names none."""
    try:
        known = documents.load_json(folder / "template.json").get("sha256", {})
        return all(sha256_file(folder / name) == digest for name, digest in known.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


_WHOLE: Mapping[Kind, Callable[[Store, Path], bool]] = {
    Kind.CONTENT: _content_whole,
    Kind.RESULT: _result_whole,
    Kind.TEMPLATE: _template_whole,
}


@contextmanager
def held(folder: Path, how: int) -> Iterator[int]:
    """The lock of an entry that is a folder, as a file descriptor: shared (it is used) or alone. Raises
    FileNotFoundError when the folder is gone, BlockingIOError."""
    with _opened(folder / USED) as stream:
        fcntl.flock(stream, how)
        if not os.fstat(stream.fileno()).st_nlink:  # removed while we waited
            raise FileNotFoundError(folder)
        yield stream.fileno()


def _opened(path: Path) -> IO[bytes]:
    try:
        return open(path, "ab", opener=private.opener)
    except OSError as error:
        if error.errno not in ONLY_READ:
            raise
        return open(path, "rb", opener=private.opener)  # flock(2) does not ask how


def _allocated_bytes(folder: Path) -> int:
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * BLOCK_BYTES
