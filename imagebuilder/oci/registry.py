"""Images of a registry, by the pull part of the OCI Distribution Specification 1.1.1: manifests and configurations into
memory, layers into the store. Everything is checked against the digest by which it was asked for."""

import difflib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import TypeVar

from imagebuilder import documents
from imagebuilder.errors import CacheError, SourceError
from imagebuilder.events import Note, Say, Warned
from imagebuilder.oci import download, mirrors
from imagebuilder.oci.authorization import Authorization
from imagebuilder.oci.content import (
    CONFIGURATIONS,
    DIGEST,
    INDEXES,
    MANIFESTS,
    MOST_DOCUMENT_BYTES,
    Descriptor,
    checked,
    digest_of,
    in_store,
    json_of,
)
from imagebuilder.oci.failures import LOG_IN_AGAIN, Failure, of_redirected, of_status, said_in
from imagebuilder.oci.mirrors import Place
from imagebuilder.oci.reference import DOCKER_HUB, DOCKER_HUB_SERVER, Reference, is_loopback
from imagebuilder.oci.transport import Client, Limits, RegistryResponse
from imagebuilder.store import Store
from imagebuilder.words import shortened, whole_number

# Docker's first schema is asked for too: who has no other is refused for what it is, and not as missing.
ACCEPTED = ", ".join([*sorted(INDEXES | MANIFESTS), "application/vnd.docker.distribution.manifest.v1+prettyjws"])
WARNING = re.compile(r'299 [^ ]+ "((?:[^"\\]|\\.)*)"')
MOST_WARNINGS = 5
MOST_TAGS_BYTES = 1 << 20
SHOWN_TAGS = 8

T = TypeVar("T")


@dataclass
class _Server:
    """A place with what is known of it; ``scheme`` of a loopback changes when it wants TLS."""

    place: Place
    authorization: Authorization
    scheme: str

    @property
    def base(self) -> str:
        host = DOCKER_HUB_SERVER if self.place.host == DOCKER_HUB else self.place.host
        return f"{self.scheme}://{host}/v2/{self.place.name}"


@dataclass
class Registry:
    """The repository of an image, as ``Content``; it is asked at its mirrors first. Use it in a ``with``, so that
    connections are closed."""

    image: Reference
    store: Store
    say: Say
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._client = Client(self.limits)
        self._servers = [self._server(place) for place in mirrors.places(self.image)]
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def resolve(self, reference: str | None = None) -> Descriptor:
        """The manifest or index of a tag or digest, else of those of the image's name. Raises SourceError."""
        asked = reference or self.image.asked
        return self._somewhere(lambda server: self._again(lambda: self._manifest(server, asked)))[0]

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or configuration; of the store where that has it. Raises SourceError."""
        if in_store(descriptor, self.store) is not None:
            try:
                return checked(self.store.read(descriptor.digest.partition(":")[2]), descriptor)
            except CacheError:
                pass
        kind = "blobs" if descriptor.media_type in CONFIGURATIONS else "manifests"

        def ask(server: _Server) -> bytes:
            with self._asked(server, f"{kind}/{descriptor.digest}", {"Accept": ACCEPTED}) as answer:
                return _sent(_document(answer, descriptor.short), descriptor, answer.host)

        data = self._somewhere(lambda server: self._again(lambda: ask(server)))
        self.store.put(data)
        return data

    def blobs(self, descriptors: Sequence[Descriptor], into: Store, say: Say) -> dict[str, Path]:
        """The layers, as files of the store. Raises SourceError, OutputError."""

        def ask(server: _Server) -> dict[str, Path]:
            transfer = download.Transfer(into, lambda each, begin: self._blob(server, each, begin), self.limits)
            try:
                return download.fetch(descriptors, transfer, say, title=f"download {self.image}")
            except BaseException:
                transfer.stopped.set()
                self._client.end_all()
                raise

        return self._somewhere(ask)

    # One server

    def _server(self, place: Place) -> _Server:
        if place.insecure:
            message = f"{place.host} is asked by TLS: insecure = true of registries.conf counts on this machine alone"
            self.say(Warned(message))
        scheme = "http" if is_loopback(place.host) else "https"
        return _Server(place, Authorization(self._client, place.host, place.name), scheme)

    def _manifest(self, server: _Server, reference: str) -> tuple[Descriptor, bytes]:
        with self._asked(server, f"manifests/{reference}", {"Accept": ACCEPTED}) as answer:
            data = _document(answer, f"the manifest of {server.place.name}")
            told = answer.headers.get("Docker-Content-Digest", "")
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        digest = reference if DIGEST.fullmatch(reference) else told or digest_of(data)
        if told and (not DIGEST.fullmatch(told) or digest_of(data, told.partition(":")[0]) != told):
            message = f"{server.place.host} sent another manifest than its header Docker-Content-Digest names"
            raise Failure(message, hint=download.DO_NOT_TRUST)
        descriptor = Descriptor(_media_type(data) or kind, digest, len(data))
        _sent(data, descriptor, server.place.host)
        self.store.put(data)
        return descriptor, data

    @contextmanager
    def _blob(self, server: _Server, descriptor: Descriptor, begin: int) -> Iterator[RegistryResponse]:
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with self._asked(server, f"blobs/{descriptor.digest}", headers, others=(206, 416)) as answer:
            yield answer

    @contextmanager
    def _asked(
        self, server: _Server, path: str, headers: Mapping[str, str], *, others: Sequence[int] = ()
    ) -> Iterator[RegistryResponse]:
        """An answer that is one: the server was convinced where it asked for that. Raises Failure."""
        for last in (False, False, True):
            sent = server.authorization.headers
            with self._client.get(f"{server.base}/{path}", {**headers, **sent}) as answer:
                self._warn(server, answer)
                if answer.status == 200 or answer.status in others:
                    yield answer
                    return
                challenge = answer.headers.get("WWW-Authenticate", "")
                is_ours = answer.url.startswith(server.base)
                failure = self._failure(server, answer, path)
            if answer.status == 400 and server.scheme == "http" and is_ours and not last:
                server.scheme = "https"  # as a server with TLS says to who does without
            elif answer.status != 401 or not is_ours or last or not server.authorization.convince(challenge, sent):
                raise failure

    def _failure(self, server: _Server, answer: RegistryResponse, path: str) -> Failure:
        code, message = said_in(answer.body(MOST_DOCUMENT_BYTES))
        place, said = server.place, server.authorization.hidden(message)
        kind, _, reference = path.partition("/")
        if answer.status == 404 and kind == "manifests" and code != "NAME_UNKNOWN":
            return self._no_such_tag(server, reference)
        if answer.status == 401 and (who := server.authorization.who):
            return Failure(f"{place.host} does not accept {who}", hint=LOG_IN_AGAIN, status=401)
        wait_s = _seconds(answer.headers.get("Retry-After", ""))
        if not answer.url.startswith(server.base):
            return of_redirected(answer.status, answer.host, place.host)
        return of_status(answer.status, place.host, place.name, wait_s=wait_s, said=said)

    def _no_such_tag(self, server: _Server, reference: str) -> Failure:
        """Which tags there are instead, where the server lists them."""
        place = server.place
        try:
            with self._asked(server, "tags/list?n=1000", {}) as answer:
                listed = documents.json_of(answer.body(MOST_TAGS_BYTES) or b"null")
        except Failure as failure:
            if failure.status == 404:
                return of_status(404, place.host, place.name)
            listed = None
        except documents.Damaged:
            listed = None
        if DIGEST.fullmatch(reference):
            return Failure(f"{place.host} has no {reference[:19]} in {place.name}", status=404)
        tags = listed.get("tags") if isinstance(listed, dict) else None
        names = [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []
        near = difflib.get_close_matches(reference, names, SHOWN_TAGS, 0.5) or sorted(names, reverse=True)[:SHOWN_TAGS]
        hint = f"it has {', '.join(shortened(each) for each in near)}" if near else None
        return Failure(f"{place.host}/{place.name} has no tag {reference}", hint=hint, status=404)

    def _warn(self, server: _Server, answer: RegistryResponse) -> None:
        """Say what a server wants to be said (distribution-spec, "Warnings"), once."""
        for text in WARNING.findall(answer.headers.get("Warning", "")):
            with self._lock:
                if text in self._told or len(self._told) >= MOST_WARNINGS:
                    continue
                self._told.add(text)
            plain = shortened(re.sub(r"\\(.)", r"\1", text), 200)
            self.say(Warned(f"{answer.host} says: {server.authorization.hidden(plain)}"))

    # Several

    def _somewhere(self, work: Callable[[_Server], T]) -> T:
        """What the first mirror gives that gives something, else the registry itself. Raises SourceError."""
        for server in self._servers[:-1]:
            try:
                return work(server)
            except SourceError as error:
                self.say(Note(f"the mirror {server.place.host} is left out: {error.message}"))
        return work(self._servers[-1])

    def _again(self, work: Callable[[], T]) -> T:
        """What some attempts give, when the first do not. Raises SourceError."""
        for attempt in range(self.limits.attempts):
            try:
                return work()
            except Failure as failure:
                if not failure.again:
                    raise
                self.limits.pause(failure, attempt)
        raise AssertionError("the last attempt raised")


def _document(answer: RegistryResponse, what: str) -> bytes:
    data = answer.body(MOST_DOCUMENT_BYTES)
    if data is None:
        raise Failure(
            f"{answer.host}: {what} is longer than {MOST_DOCUMENT_BYTES >> 20} MiB, as no document of an image is"
        )
    return data


def _sent(data: bytes, descriptor: Descriptor, host: str) -> bytes:
    """What a server sent, which is what the descriptor names. Raises Failure."""
    try:
        return checked(data, descriptor)
    except SourceError as error:
        raise Failure(f"{host} sent another content: {error.message}", hint=download.DO_NOT_TRUST) from error


def _media_type(data: bytes) -> str:
    """What a document calls itself, if it does."""
    try:
        document = json_of(data)
    except documents.Damaged:
        return ""
    told = document.get("mediaType") if isinstance(document, dict) else None
    return told if isinstance(told, str) else ""


def _seconds(text: str) -> float | None:
    """What Retry-After asks for (RFC 9110, section 10.2.3): seconds, or a date."""
    if (number := whole_number(text.strip())) is not None:
        return float(number)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return None
