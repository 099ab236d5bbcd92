"""The content-addressed cache: atomic, safe for parallel builds, usable after being killed at any moment.

::

    <root>/blobs/<ab>/<sha256>     contents, named by their SHA-256
    <root>/records/<ab>/<key>      small JSON documents: what the step with that key gave
    <root>/choices/<ab>/<key>      the same for what cannot be had again: which versions of packages were chosen
    <root>/locks/<key>             held while a step runs, so that two builds do not do the same work
    <root>/users                   held by all who use the cache, so that one can know that he is alone
    <root>/scratch/<random>        work in progress; a lock tells the living from the dead, which are swept

Everything appears by a rename. A blob is checked against its name whenever it is read: one that does not match is
removed, and whoever asked makes it anew. The time of a file is that of its last use (within an hour): ``cache.py``
removes what was not used for long.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imagebuilder.errors import CacheError, OutputError

CHUNK_BYTES = 1 << 20
OWNER = ".owner"
TOUCH_S = 3600.0


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical(value: Any) -> bytes:
    """One spelling for one value: JSON with sorted keys and no spaces.

    A name that is no UTF-8 has lone surrogates, which ``json.loads`` takes back as they are.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def key_of(value: Any) -> str:
    """The key of a step: the hash of all that it depends on."""
    return sha256(canonical(value))


def as_read(value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as one reads it from its one spelling: keys in order, lists for tuples."""
    read: dict[str, Any] = json.loads(canonical(value))
    return read


class Store:
    """The cache in one folder. Raises OutputError when it cannot be written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for name in ("blobs", "records", "choices", "locks", "scratch"):
                (root / name).mkdir(parents=True, exist_ok=True)
            self._users = os.open(root / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            weakref.finalize(self, os.close, self._users)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        except OSError as error:
            raise OutputError(
                f"the cache {root} cannot be written: {error.strerror}", hint="set IMAGEBUILDER_CACHE to another folder"
            ) from error
        self._sweep()

    # Blobs

    def put(self, data: bytes) -> str:
        """Keep some bytes; returns their digest."""
        digest = sha256(data)
        path = self._path("blobs", digest)
        if not _is(path, digest):
            self._write(path, data)
        return digest

    def put_file(self, source: Path) -> str:
        """Keep a copy of a file's content; returns its digest."""
        digest = sha256_file(source)
        path = self._path("blobs", digest)
        if not _is(path, digest):
            with self._renamed_to(path) as stream, source.open("rb") as content:
                shutil.copyfileobj(content, stream, CHUNK_BYTES)
        return digest

    def has(self, digest: str) -> bool:
        """Whether there is an entry for this digest, damaged or not. Who asks uses it."""
        path = self._path("blobs", digest)
        _touch(path)
        return path.is_file()

    def blob(self, digest: str, *, touch: bool = True) -> Path:
        """The file with the content of this digest, checked. Raises CacheError; a damaged one is removed first.
        Without ``touch`` that is no use of it."""
        path = self._path("blobs", digest)
        try:
            whole = sha256_file(path) == digest
        except FileNotFoundError:
            raise CacheError(f"the cache lacks {digest[:12]}", hint="build again: it is made anew") from None
        except OSError:  # no file, or one that the disk no longer gives
            whole = False
        if not whole:
            remove(path)
            raise CacheError(f"the cache entry {path} was damaged and is removed", hint="build again: it is made anew")
        if touch:
            _touch(path)
        return path

    def read(self, digest: str) -> bytes:
        """The content with this digest, checked."""
        return self.blob(digest).read_bytes()

    # Records

    def record(self, key: str, *, touch: bool = True) -> dict[str, Any] | None:
        """What the step with this key gave; nothing when it has not run yet or its record is damaged."""
        return self._read(self._path("records", key), touch=touch)

    def keep(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Remember what the step with this key gave (JSON); returns it as ``record`` will: whoever goes on with what
        was just made sees the same as who finds it here later, down to the order of keys."""
        self._write(self._path("records", key), canonical({"value": value, "sha256": key_of(value)}))
        return as_read(value)

    def forget(self, key: str) -> None:
        """Drop a record, so that the step runs again."""
        remove(self._path("records", key))

    def choice(self, key: str) -> dict[str, Any] | None:
        """What was chosen for this key; nothing when nobody has yet. Older caches have it among their records."""
        chosen = self._read(self._path("choices", key))
        return self.record(key) if chosen is None else chosen

    def choose(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Remember what was chosen (JSON), for good; returns it as ``choice`` will."""
        self._write(self._path("choices", key), canonical({"value": value, "sha256": key_of(value)}))
        return as_read(value)

    def _read(self, path: Path, *, touch: bool = True) -> dict[str, Any] | None:
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            remove(path)
            return None
        intact = isinstance(document, dict) and document.get("sha256") == key_of(document.get("value"))
        if not intact:
            remove(path)
            return None
        if touch:
            _touch(path)
        value = document["value"]
        return value if isinstance(value, dict) else None

    # Work in progress

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Wait until nobody else does the work with this key; the lock falls with the process that holds it."""
        with (self.root / "locks" / key).open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else uses the cache: then nobody begins to, either, until this is over, and nobody holds a
        lock."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)  # flock(2): to ask for more in vain loses what one had
            alone = False
        try:
            yield alone
        finally:
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def drop_locks(self) -> None:
        """Remove the files of locks, which are as many as there ever were steps. Only for who is alone."""
        for path in (self.root / "locks").iterdir():
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder that is gone afterwards. What a killed process leaves is swept by the next one."""
        with self.lock("scratch"):  # nobody sweeps between making the folder and owning it
            folder = Path(tempfile.mkdtemp(dir=self.root / "scratch"))
            owner = (folder / OWNER).open("wb")
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            work = folder / "work"
            work.mkdir()
            yield work
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            owner.close()

    def _sweep(self) -> None:
        with self.lock("scratch"):
            for left in (self.root / "scratch").iterdir():
                with suppress(OSError), (left / OWNER if left.is_dir() else left).open("ab") as owner:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    # Files

    def _path(self, kind: str, name: str) -> Path:
        return self.root / kind / name[:2] / name

    def _write(self, path: Path, data: bytes) -> None:
        with self._renamed_to(path) as stream:
            stream.write(data)

    @contextmanager
    def _renamed_to(self, path: Path) -> Iterator[Any]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.lock("scratch"):
                descriptor, temporary = tempfile.mkstemp(dir=self.root / "scratch")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    yield stream
                    stream.flush()
                    if path.is_dir():
                        remove(path)
                    Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"the cache {self.root} cannot be written: {error.strerror}", hint="free some disk space"
            ) from error


def _is(path: Path, digest: str) -> bool:
    """Whether the blob is there and undamaged: what is put again mends it."""
    _touch(path)
    try:
        return path.is_file() and sha256_file(path) == digest
    except FileNotFoundError:  # somebody was faster
        return False


def _touch(path: Path) -> None:
    """Note that the file is used."""
    with suppress(OSError):
        if path.stat().st_mtime < time.time() - TOUCH_S:
            os.utime(path)


def remove(path: Path) -> None:
    """Remove what is damaged, also what stands in the place of a file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
