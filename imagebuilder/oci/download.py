"""Layers over HTTP into the store: several at a time, checked while they come, gone on with where they broke off.

A layer that is on its way lies in ``partial/`` of the store. What a broken connection or a killed process left there is
hashed once more, and the server is asked for the rest of it alone (RFC 9110, section 14: Range).
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from imagebuilder import private
from imagebuilder.errors import CacheError, OutputError, SourceError
from imagebuilder.events import Progress, Say, Unit, step
from imagebuilder.oci.content import Descriptor, Hash, in_store
from imagebuilder.oci.failures import Failure
from imagebuilder.oci.transport import CHUNK_BYTES, Limits, RegistryResponse
from imagebuilder.store import Store

AT_A_TIME = 4
MEANT_ANEW_BYTES = 1 << 20  # so much more is worth as many attempts as there were at the beginning
TOLD_EVERY_S = 0.1
DO_NOT_TRUST = "try again; do not trust it"

Ask = Callable[[Descriptor, int], AbstractContextManager[RegistryResponse]]
"""Asks a server for a content from this byte on."""


@dataclass
class Transfer:
    """Layers on their way: how much there is of them, and whether they are to stop."""

    store: Store
    ask: Ask
    limits: Limits
    stopped: threading.Event = field(default_factory=threading.Event)
    done_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, more_bytes: int) -> None:
        """So much more is there; less where something begins again."""
        with self._lock:
            self.done_bytes += more_bytes


def fetch(descriptors: Sequence[Descriptor], transfer: Transfer, say: Say, *, title: str) -> dict[str, Path]:
    """The files of the store with these contents, by their digests. Raises SourceError, OutputError; then, and when it
    is interrupted, nothing goes on, and what came is kept for the next time."""
    wanted = {each.digest: each for each in descriptors}
    pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="layer")
    try:
        there = dict(zip(wanted, pool.map(lambda each: _whole(each, transfer.store), wanted.values()), strict=True))
        found = {digest: path for digest, path in there.items() if path is not None}
        missing = [each for each in wanted.values() if each.digest not in found]
        if missing:
            total = sum(each.size_bytes for each in missing) if all(each.size_bytes >= 0 for each in missing) else None
            with step(say, title, title, total=total, unit=Unit.BYTES):
                futures = {pool.submit(_one, each, transfer): each.digest for each in missing}
                for future in _as_they_come(futures, lambda: say(Progress(title, transfer.done_bytes, total))):
                    found[futures[future]] = future.result()
        return found
    finally:
        transfer.stopped.set()
        pool.shutdown(cancel_futures=True)


def _as_they_come(
    futures: Sequence[Future[Path]] | dict[Future[Path], str], tell: Callable[[], None]
) -> Iterator[Future[Path]]:
    pending = set(futures)
    while pending:
        ended, pending = wait(pending, TOLD_EVERY_S, FIRST_COMPLETED)
        tell()
        yield from ended


def _whole(descriptor: Descriptor, store: Store) -> Path | None:
    """The store's file, if there is one and it is whole."""
    if in_store(descriptor, store) is None:
        return None
    try:
        return store.blob(descriptor.digest.partition(":")[2])
    except CacheError:
        return None


def _one(descriptor: Descriptor, transfer: Transfer) -> Path:
    """One content, by as many requests as it takes."""
    store, name = transfer.store, descriptor.digest.replace(":", "-")
    name = name.removeprefix("sha256-")
    with store.lock(f"partial-{name}"):
        if (there := _whole(descriptor, store)) is not None:  # another process has fetched it meanwhile
            transfer.count(descriptor.size_bytes)
            return there
        part = store.partial(name)
        with _writing(store), open(part, "a+b", opener=private.opener) as stream:
            sha256 = _Receiving(descriptor, stream, transfer).receive()
        return store.adopt(part, sha256)


class _Receiving:
    """A content that comes into a file, which may have some of it."""

    def __init__(self, descriptor: Descriptor, stream: IO[bytes], transfer: Transfer) -> None:
        self.descriptor = descriptor
        self.stream = stream
        self.transfer = transfer
        self.algorithm = descriptor.digest.partition(":")[0]
        self.seen = self._hash_of_all()
        self.is_continued = self.seen.size_bytes > 0
        transfer.count(self.seen.size_bytes)

    def receive(self) -> str:
        """All of it; its SHA-256. Raises SourceError, and then nothing is left of a content that is another one."""
        attempt = 0
        while True:
            before = self.seen.size_bytes
            try:
                self._go_on()
                return self._checked()
            except Failure as failure:
                if self.seen.size_bytes >= before + MEANT_ANEW_BYTES:
                    attempt = 0
                if not failure.again and not (failure.unreached and self.seen.size_bytes):
                    raise
                self.transfer.limits.pause(failure, attempt, self.transfer.stopped)
                attempt += 1
            except SourceError:
                self._begin_anew()
                if not self.is_continued:
                    raise
                self.is_continued = False  # what an earlier run left may have been damaged

    def _go_on(self) -> None:
        """Ask for what is missing, and take what comes of it. Raises Failure when that is not all."""
        size, begin = self.descriptor.size_bytes, self.seen.size_bytes
        if begin and begin == size:
            return
        with self.transfer.ask(self.descriptor, begin) as answer:
            if begin and not _goes_on(answer, begin):
                self._begin_anew()
                if answer.status == 416:
                    raise Failure(f"{answer.host} has no more of {self.descriptor.short}", again=True)
            for chunk in answer.chunks():
                if self.transfer.stopped.is_set():
                    raise Failure("the download was stopped")
                self.stream.write(chunk)
                self.seen.update(chunk)
                self.transfer.count(len(chunk))
                if 0 <= size < self.seen.size_bytes:
                    raise SourceError(
                        f"{self._what} is longer than the {size:,} bytes that it is to be", hint=DO_NOT_TRUST
                    )
        if self.seen.size_bytes < size:
            message = f"{self._what} is cut off: {self.seen.size_bytes:,} of {size:,} bytes came from {answer.host}"
            raise Failure(message, again=True)

    def _checked(self) -> str:
        self.stream.flush()
        if self.seen.digest != self.descriptor.digest:
            message = f"{self._what} is another content: what came has the digest {self.seen.digest}"
            raise SourceError(message, hint=DO_NOT_TRUST)
        return (self.seen if self.algorithm == "sha256" else self._hash_of_all("sha256")).digest.partition(":")[2]

    @property
    def _what(self) -> str:
        return f"the layer {self.descriptor.short}"

    def _begin_anew(self) -> None:
        self.transfer.count(-self.seen.size_bytes)
        self.stream.truncate(0)
        self.seen = Hash(self.algorithm)

    def _hash_of_all(self, algorithm: str | None = None) -> Hash:
        found = Hash(algorithm or self.algorithm)
        self.stream.seek(0)
        while chunk := self.stream.read(CHUNK_BYTES):
            found.update(chunk)
        if 0 <= self.descriptor.size_bytes < found.size_bytes:
            self.stream.truncate(0)
            return Hash(found.algorithm)
        self.stream.seek(0, os.SEEK_END)
        return found


def _goes_on(answer: RegistryResponse, begin: int) -> bool:
    """Whether an answer begins where it was asked to: a server may send all of it instead."""
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-")


@contextmanager
def _writing(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the cache {store.root} cannot be written: {error.strerror}", hint="free some disk space"
        ) from error
