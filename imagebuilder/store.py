"""The content-addressed cache: atomic, safe for parallel builds, usable after being killed at any moment.

::

    <root>/blobs/<ab>/<sha256>     contents, named by their SHA-256
    <root>/records/<ab>/<key>      small JSON documents: the result of the step with that key
    <root>/choices/<ab>/<key>      the same for what cannot be had again: which versions of packages were chosen
    <root>/locks/<key>             held while a step runs, so that two builds do not do the same work
    <root>/users                   held by all who use the cache, so that one can know that he is alone
    <root>/partial/<ab>/<sha256>   downloads that were broken off, and can be gone on with
    <root>/scratch/<random>        work in progress; a lock is held by the living; what the dead left is swept
    <root>/apt, <root>/templates   of ``sources/apt.py`` and ``machine/template.py``

No other user can read anything of it (``private.py``).
Everything appears by a rename. A blob is checked against its name when it is read, by each ``Store`` once as long as
its file stays the same: one that does not match is removed, and the caller makes it again. The time of a file is that
of its last use (within an hour): ``cache.py`` removes what was not used for long.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imagebuilder import private
from imagebuilder.errors import CacheError, OutputError
from imagebuilder.private import FOLDERS as FOLDERS
from imagebuilder.private import remove

CHUNK_BYTES = 1 << 20
ONLY_READ = (errno.EACCES, errno.EPERM, errno.EROFS)
OWNER = ".owner"
TOUCH_S = 3600.0
SETTLED_S = 0.1  # a file that was changed later than that may be changed again without its time showing it


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _sha256_of_ours(path: Path) -> str:
    """The same of a file of the cache, behind no link."""
    with open(path, "rb", opener=private.opener) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_Identity = tuple[int, int, int, int]  # inode, bytes, and when content and inode were changed, in nanoseconds


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
    """The cache in one folder. Raises OutputError where there is none and none can be made, InputError for one that
    others may write to. One that can only be read gives what it has: what steps give is then remembered by this object
    alone, and what writes raises OutputError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: list[Path] = []
        """Records and choices that were damaged, and are removed: not yet reported."""
        self._unwritable: str | None = None
        self._unkept: dict[str, dict[str, Any]] = {}
        self._checked: dict[Path, _Identity] = {}
        private.check(root)
        try:
            self._open()
        except OSError as error:
            self._unwritable = error.strerror
            if error.errno not in ONLY_READ or not (root / "records").is_dir():
                self.check_writable()
        else:
            self._sweep()

    def _open(self) -> None:
        for name in FOLDERS:
            private.make_folder(self.root / name)
            private.close(self.root / name)
        self._users = private.lock_opener(str(self.root / "users"), os.O_RDWR | os.O_CREAT)
        weakref.finalize(self, os.close, self._users)
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def check_writable(self) -> None:
        """Raises OutputError for a cache that can only be read."""
        if self._unwritable:
            raise OutputError(
                f"the cache {self.root} cannot be written: {self._unwritable}",
                hint="set IMAGEBUILDER_CACHE to another folder",
            )

    # Blobs

    def put(self, data: bytes) -> str:
        """Keep some bytes; returns their digest."""
        digest = sha256(data)
        path = self._path("blobs", digest)
        if not self._is(path, digest):
            self._write(path, data)
        return digest

    def put_file(self, source: Path) -> str:
        """Keep a copy of a file's content; returns its digest."""
        digest = sha256_file(source)
        path = self._path("blobs", digest)
        if not self._is(path, digest):
            with self._renamed_to(lambda: path) as stream, source.open("rb") as content:
                shutil.copyfileobj(content, stream, CHUNK_BYTES)
        return digest

    def put_chunks(self, chunks: Iterable[bytes]) -> str:
        """Keep a content that comes in pieces; returns its digest. What these raise leaves nothing behind."""
        found = hashlib.sha256()
        with self._renamed_to(lambda: self._path("blobs", found.hexdigest())) as stream:
            for chunk in chunks:
                found.update(chunk)
                stream.write(chunk)
        return found.hexdigest()

    def partial(self, name: str) -> Path:
        """Where a download is kept until it is whole, also when we are killed, so that it can be gone on with; the
        folder is there. Who writes to it holds ``lock(f"partial-{name}")``. Raises OutputError."""
        path = self._path("partial", name)
        self.check_writable()
        try:
            private.make_folder(path.parent)
        except OSError as error:
            raise self._full(error) from error
        if path.is_symlink() or (path.exists() and not path.is_file()):
            remove(path)
        return path

    def adopt(self, path: Path, digest: str) -> Path:
        """Move a file of ours among the contents; that it has this digest, the caller has seen. Raises OutputError."""
        place = self._path("blobs", digest)
        try:
            private.make_folder(place.parent)
            if place.is_dir():
                remove(place)
            path.replace(place)
        except OSError as error:
            raise self._full(error) from error
        return place

    def has(self, digest: str) -> bool:
        """Whether there is an entry for this digest, damaged or not. Who asks uses it."""
        path = self._path("blobs", digest)
        _touch(path)
        return path.exists() or path.is_symlink()

    def blob(self, digest: str, *, touch: bool = True) -> Path:
        """The file with the content of this digest, checked. Raises CacheError; a damaged one is removed first.
        Without ``touch`` that is no use of it."""
        path = self._path("blobs", digest)
        try:
            whole = self._is_whole(path, digest)
        except FileNotFoundError:
            raise CacheError(f"the cache lacks {digest[:12]}", hint="build again: it is rebuilt") from None
        except OSError:  # no file, or one that the disk no longer gives
            whole = False
        if not whole:
            remove(path)
            raise CacheError(f"the cache entry {path} was damaged and is removed", hint="build again: it is rebuilt")
        if touch:
            _touch(path)
        return path

    def place(self, digest: str) -> Path:
        """Where the content of this digest is, if it is there; unchecked."""
        return self._path("blobs", digest)

    def read(self, digest: str) -> bytes:
        """The content with this digest, checked."""
        return self.blob(digest).read_bytes()

    # Records

    def record(self, key: str, *, touch: bool = True) -> dict[str, Any] | None:
        """The result of the step with this key; None when it has not run yet or its record is damaged."""
        return self._unkept.get(key) or self._read(self._path("records", key), touch=touch)

    def intact(self, key: str) -> bool:
        """Whether there is a record with this key, undamaged; nothing is removed. Who asks uses it."""
        path = self._path("records", key)
        with suppress(OSError, ValueError, RecursionError), open(path, "rb", opener=private.opener) as stream:
            _touch(path)
            return _is_intact(json.loads(stream.read()))
        return False

    def keep(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the result of the step with this key (JSON); returns it as ``record`` will: who goes on with what was
        just made sees the same as who finds it here later, down to the order of keys."""
        if self._unwritable:
            self._unkept[key] = as_read(value)
        else:
            self._write(self._path("records", key), canonical({"value": value, "sha256": key_of(value)}))
        return as_read(value)

    def forget(self, key: str) -> None:
        """Drop a record, so that the step runs again."""
        remove(self._path("records", key))

    def choice(self, key: str) -> dict[str, Any] | None:
        """What was chosen for this key; None before that. Older caches have it among their records."""
        chosen = self._read(self._path("choices", key))
        return self.record(key) if chosen is None else chosen

    def choose(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Remember what was chosen (JSON), for good; returns it as ``choice`` will."""
        self._write(self._path("choices", key), canonical({"value": value, "sha256": key_of(value)}))
        return as_read(value)

    def _read(self, path: Path, *, touch: bool = True) -> dict[str, Any] | None:
        try:
            with open(path, "rb", opener=private.opener) as stream:
                document = json.loads(stream.read())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            document = None
        if not _is_intact(document):
            remove(path)
            self.damaged.append(path)
            return None
        if touch:
            _touch(path)
        value = document["value"]
        return value if isinstance(value, dict) else None

    # Work in progress

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Wait until no other process does the work with this key; the lock falls with the process that holds it. In a
        cache that can only be read there is no such work."""
        if self._unwritable:
            yield
            return
        with open(self.root / "locks" / key, "ab", opener=private.lock_opener) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process uses the cache: then none begins to until this is over, and none holds a
        lock. Raises OutputError."""
        self.check_writable()
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)  # flock(2): a failed upgrade loses the lock that one had
            alone = False
        try:
            yield alone
        finally:
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def drop_locks(self) -> None:
        """Remove the files of locks, which are as many as there ever were steps. Only for who is alone."""
        for path in (self.root / "locks").iterdir():
            remove(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder that is gone afterwards. What a killed process leaves is swept by the next one. Raises
        OutputError."""
        self.check_writable()
        with self.lock("scratch"):  # no sweep between making the folder and owning it
            folder = Path(tempfile.mkdtemp(dir=self.root / "scratch"))
            owner = open(folder / OWNER, "wb", opener=private.opener)  # noqa: SIM115 - closed below
            fcntl.flock(owner, fcntl.LOCK_EX)
        try:
            work = folder / "work"
            private.make_folder(work)
            yield work
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            owner.close()

    def _sweep(self) -> None:
        with self.lock("scratch"):
            for left in (self.root / "scratch").iterdir():
                owned = left / OWNER if left.is_dir() else left
                with suppress(OSError), open(owned, "ab", opener=private.opener) as owner:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    # Files

    def _path(self, kind: str, name: str) -> Path:
        return self.root / kind / name[:2] / name

    def _is(self, path: Path, digest: str) -> bool:
        """Whether the blob is there and undamaged: what is put again mends it."""
        _touch(path)
        try:
            return self._is_whole(path, digest)
        except OSError:  # not there, no file, or one that the disk no longer gives
            return False

    def _is_whole(self, path: Path, digest: str) -> bool:
        """Whether a file has this content; read once as long as it is the same file, unchanged. Raises OSError."""
        if self._checked.get(path) == (found := _identity(path)):
            return True
        is_settled = time.time() - found[-1] / 1e9 > SETTLED_S
        whole = _sha256_of_ours(path) == digest
        if whole and is_settled:
            self._checked[path] = found
        return whole

    def _write(self, path: Path, data: bytes) -> None:
        with self._renamed_to(lambda: path) as stream:
            stream.write(data)

    @contextmanager
    def _renamed_to(self, place: Callable[[], Path]) -> Iterator[Any]:
        self.check_writable()
        try:
            with self.lock("scratch"):
                descriptor, temporary = tempfile.mkstemp(dir=self.root / "scratch")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    yield stream
                    stream.flush()
                    path = place()
                    private.make_folder(path.parent)
                    if path.is_dir():
                        remove(path)
                    Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutputError:
        return OutputError(f"the cache {self.root} cannot be written: {error.strerror}", hint="free some disk space")


def _is_intact(document: Any) -> bool:
    return isinstance(document, dict) and document.get("sha256") == key_of(document.get("value"))


def _identity(path: Path) -> _Identity:
    """What changes when a file does, or another takes its place. Raises OSError."""
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _touch(path: Path) -> None:
    """Note that the file is used."""
    with suppress(OSError):
        if path.stat().st_mtime < time.time() - TOUCH_S:
            os.utime(path)
