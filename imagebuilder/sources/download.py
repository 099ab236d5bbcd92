"""Files from the network whose digest is known, into the store: hashed while they come, gone on with where a connection
broke, refused when they are something else.

HTTPS, and plain HTTP of this machine's loopback only, also behind a redirect. Proxies, certificates and ``~/.netrc``
are those that ``requests`` finds.
"""

import hashlib
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from imagebuilder.errors import CacheError, OutputError, SourceError
from imagebuilder.events import Progress, Say, Unit, step
from imagebuilder.recipe.values import download_url
from imagebuilder.store import CHUNK_BYTES, Store

if TYPE_CHECKING:
    from requests import Response, Session

MOST_BYTES = 16 << 30
TIMEOUT_S = 30  # without a single byte from the server
SLOW_S, LEAST_BYTES = 60, 60 << 10  # in every so many seconds so much must come
TRIES = 4  # one after the other that bring less than that
PAUSE_S = 0.5  # before the second of them; then twice that each
MOST_REDIRECTS = 10
REDIRECTS, TEMPORARY = (301, 302, 303, 307, 308), (429, 500, 502, 503, 504)
GONE_ON = 416  # the file is no longer as long as what one has of it


class Broken(Exception):
    """The connection broke, or the server asks for patience."""


def blob(
    url: str,
    digest: str,
    *,
    store: Store,
    say: Say,
    most_bytes: int = MOST_BYTES,
    title: str | None = None,
    tries: int = TRIES,
    trusted: Container[str] = (),
    cert: str | None = None,
) -> Path:
    """The file with this SHA-256: from the store, else downloaded from the URL into it. ``title`` is what it is called
    instead of its URL; hosts that are ``trusted`` may speak plain HTTP; ``cert`` is a bundle of authorities. Raises
    SourceError."""
    if store.has(digest):
        with suppress(CacheError):
            return store.blob(digest)
    return verified(
        url,
        "sha256",
        digest,
        store=store,
        say=say,
        most_bytes=most_bytes,
        title=title,
        tries=tries,
        trusted=trusted,
        cert=cert,
    )


def verified(
    url: str,
    algorithm: str,
    digest: str,
    *,
    store: Store,
    say: Say,
    headers: Mapping[str, str] | None = None,
    most_bytes: int = MOST_BYTES,
    title: str | None = None,
    tries: int = TRIES,
    trusted: Container[str] = (),
    cert: str | None = None,
) -> Path:
    """A file with this digest (in hexadecimal, by an algorithm of hashlib), downloaded into the store; ``headers`` are
    for the URL's own server, the rest as in ``blob``. Raises SourceError."""
    import requests

    with store.scratch() as scratch, requests.Session() as session:
        target = scratch / "download"
        session.verify = cert or True
        name, what = f"download-{digest[:12]}", title or shown(url)
        download = _Download(session, url, what, say, name, most_bytes, tries, trusted, algorithm, headers or {})
        download.into(target, digest)
        return store.blob(store.put_file(target))


def shown(url: str) -> str:
    """A URL for the eyes: without the name and password that it may have."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    return "a URL"


@dataclass
class _Download:
    """One file on its way."""

    session: "Session"
    url: str
    what: str
    say: Say
    name: str
    most_bytes: int
    tries: int = TRIES
    trusted: Container[str] = ()
    algorithm: str = "sha256"
    headers: Mapping[str, str] = field(default_factory=dict)
    total: int | None = None
    etag: str | None = None
    digest: Any = field(init=False)

    def __post_init__(self) -> None:
        self.digest = hashlib.new(self.algorithm)

    def into(self, target: Path, digest: str) -> None:
        """Download it. Raises SourceError, and OutputError where it cannot be written."""
        try:
            with target.open("wb") as stream, step(self.say, self.name, f"download {self.what}", unit=Unit.BYTES):
                self._all(stream)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}", hint="free some disk space") from error
        found = self.digest.hexdigest()
        if found != digest:
            message = f"{self.what} has the {self.algorithm} {found}, and expected is {digest}"
            raise SourceError(message, hint="try again; do not trust it")

    def _all(self, stream: IO[bytes]) -> None:
        vain, pause_s = 0, PAUSE_S
        while True:
            before = stream.tell()
            try:
                return self._rest(stream)
            except Broken as error:
                vain, pause_s = (vain + 1, pause_s * 2) if stream.tell() < before + LEAST_BYTES else (0, PAUSE_S)
                if vain == self.tries:
                    message = f"{self.what} cannot be downloaded: {error}"
                    raise SourceError(message, hint="check the network, and the URL") from error
            time.sleep(pause_s)

    def _rest(self, stream: IO[bytes]) -> None:
        """Ask for what is still to come, and write it."""
        import requests
        import urllib3

        try:
            answer = self._asked(stream.tell())
            with answer:
                self._placed(answer, stream)
                for data in self._chunks(answer):
                    stream.write(data)
                    self.digest.update(data)
                    self.say(Progress(self.name, stream.tell(), self.total))
                    if stream.tell() > self.most_bytes:
                        raise SourceError(f"{self.what} has more than {self.most_bytes:,} bytes")
        except (requests.exceptions.SSLError, ValueError) as error:  # those of wrong URLs are ValueErrors, too
            raise SourceError(f"{self.what} cannot be downloaded: {_why(error)}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Broken(_why(error)) from error
        if self.total is not None and stream.tell() != self.total:
            raise Broken("it is cut off")

    def _asked(self, begin: int) -> "Response":
        url, headers = self.url, {"Accept-Encoding": "identity"}
        if begin:
            headers |= {"Range": f"bytes={begin}-"} | ({"If-Range": self.etag} if self.etag else {})
        for _ in range(MOST_REDIRECTS):
            try:
                download_url(url, self.trusted)
            except ValueError as error:
                place = f" leads to {shown(url)}" if url != self.url else ""
                raise SourceError(f"{self.what}{place}: {error}") from error
            own = self.headers if urlsplit(url).netloc == urlsplit(self.url).netloc else {}
            sent = {**headers, **own}
            answer = self.session.get(url, headers=sent, stream=True, timeout=TIMEOUT_S, allow_redirects=False)
            if answer.status_code not in REDIRECTS:
                return answer
            answer.close()
            url = urljoin(url, answer.headers.get("Location", ""))
        raise SourceError(f"{self.what} leads from one address to the next, and nowhere")

    def _placed(self, answer: "Response", stream: IO[bytes]) -> None:
        """Put the stream where the answer goes on."""
        begin, status = stream.tell(), answer.status_code
        if status == GONE_ON and begin:
            stream.seek(0)
            stream.truncate()
        if status in TEMPORARY or (status == GONE_ON and begin):
            raise Broken(f"the server answers {status} {answer.reason}")
        if status not in (200, 206):
            raise SourceError(f"{self.what} cannot be downloaded: the server answers {status} {answer.reason}")
        whole = answer.headers.get("Content-Range", "").partition("/")
        length = answer.headers.get("Content-Length", "")
        if status == 206 and whole[0] != f"bytes {begin}-{_number(whole[2], 0) - 1}":
            raise SourceError(f"{self.what} cannot be downloaded: the server goes on elsewhere than asked for")
        if status == 200:
            stream.seek(0)
            stream.truncate()
            self.digest = hashlib.new(self.algorithm)
            etag = answer.headers.get("ETag", "")
            self.etag = etag if etag.startswith('"') else None
        self.total = _number(whole[2] if status == 206 else length)

    def _chunks(self, answer: "Response") -> Iterator[bytes]:
        """What comes, as it comes. Raises Broken where it hardly does."""
        read = getattr(answer.raw, "read1", answer.raw.read)
        since_s, came = time.monotonic(), 0
        while data := read(CHUNK_BYTES):
            yield data
            came += len(data)
            if time.monotonic() - since_s > SLOW_S:
                if came < LEAST_BYTES:
                    raise SourceError(f"{self.what} comes too slowly: {came:,} bytes in {SLOW_S} s")
                since_s, came = time.monotonic(), 0


def _number(text: str, otherwise: Any = None) -> Any:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else otherwise


def _why(error: Exception) -> str:
    """The cause of an error of requests, without the layers around it."""
    while isinstance(inner := error.__context__ or error.__cause__, Exception):
        error = inner
    return str(error) or type(error).__name__
