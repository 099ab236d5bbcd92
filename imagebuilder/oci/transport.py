"""HTTP to registries: one request at a time, each within its time, whatever the server does.

Plain HTTP goes to this machine alone, and through no proxy; everything else is HTTPS. What the user's ``~/.netrc`` has
is not sent, cookies are not kept, and nothing is decompressed on the way: digests are of what was sent.
"""

import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from imagebuilder.oci import certificates
from imagebuilder.oci.deadline import POOLS, Deadline, within
from imagebuilder.oci.failures import Failure, of_exception
from imagebuilder.oci.reference import is_loopback

CHUNK_BYTES = 1 << 20
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # of Debian: those of the user's own house are in it
FAULTS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited for what, and how often it is tried."""

    connect_s: float = 10.0
    answer_s: float = 30.0  # from the request to the end of an answer's head; a short body has as long again
    least_bytes: int = 64 << 10  # so much of a long body comes in ``answer_s``
    redirects: int = 5
    attempts: int = 5  # without getting on
    first_wait_s: float = 0.5  # doubles
    most_wait_s: float = 60.0  # that a server may ask for by Retry-After

    def pause(self, failure: Failure, attempt: int, stopped: threading.Event | None = None) -> None:
        """Wait until it is worth another attempt. Raises the failure when it is none any more."""
        wait_s = self.first_wait_s * 2**attempt if failure.wait_s is None else failure.wait_s
        if attempt + 1 >= self.attempts or wait_s > self.most_wait_s or (stopped or threading.Event()).wait(wait_s):
            raise failure


class RegistryResponse:
    """What a server said: its head is read, its body is to be."""

    def __init__(self, response: requests.Response, url: str, deadline: Deadline, limits: Limits) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self._response = response
        self._deadline = deadline
        self._limits = limits

    @property
    def host(self) -> str:
        """Who answered: after a redirect another than who was asked."""
        return urlsplit(self.url).netloc

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises Failure when it is cut off or comes too slowly."""
        wanted = self._limits.least_bytes
        self._deadline.extend(self._limits.answer_s)
        try:
            while chunk := self._response.raw.read1(CHUNK_BYTES, decode_content=False):
                wanted -= len(chunk)
                if wanted <= 0:
                    wanted = self._limits.least_bytes
                    self._deadline.extend(self._limits.answer_s)
                yield chunk
        except FAULTS as error:
            raise of_exception(error, self.host, late_s=self._late_s) from None
        if self._deadline.passed:
            raise of_exception(TimeoutError(), self.host, late_s=self._limits.answer_s)

    def body(self, most_bytes: int) -> bytes | None:
        """All of a short body, in the time of one; nothing of one that is longer."""
        kept = bytearray()
        self._deadline.extend(self._limits.answer_s)
        due_s = time.monotonic() + self._limits.answer_s
        for chunk in self.chunks():
            kept += chunk
            if len(kept) > most_bytes:
                return None
            if time.monotonic() > due_s:
                raise of_exception(TimeoutError(), self.host, late_s=self._limits.answer_s)
        return bytes(kept)

    @property
    def _late_s(self) -> float | None:
        return self._limits.answer_s if self._deadline.passed else None


class Client:
    """Connections that are kept for further requests; several threads may use it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _Adapter(pool_maxsize=8))
        self._session.mount("http://", _Adapter(pool_maxsize=8))
        self._own_certificates: set[str] = set()
        self._lock = threading.Lock()
        self._open: set[Deadline] = set()

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str], *, form: Mapping[str, str] | None = None
    ) -> Iterator[RegistryResponse]:
        """Ask for a URL, and follow redirects; ``Authorization`` goes to the first server alone. ``form`` is posted
        instead, and then nothing is followed. Raises Failure."""
        given, first = dict(headers), _origin(url)
        for _ in range(self.limits.redirects + 1):
            _check_scheme(url, from_loopback=is_loopback(urlsplit(first).netloc), first=urlsplit(first).netloc)
            with self._send(url, given, form) as answer:
                location = answer.headers.get("Location")
                if form or answer.status not in REDIRECTS or not location:
                    yield answer
                    return
            url = _joined(url, location)
            if _origin(url) != first:
                given.pop("Authorization", None)
        raise Failure(f"{urlsplit(first).netloc} redirects more than {self.limits.redirects} times")

    def end_all(self) -> None:
        """Break all connections that wait: their threads raise Failure."""
        with self._lock:
            for deadline in self._open:
                deadline.end()

    def close(self) -> None:
        """Close what is kept."""
        self._session.close()

    @contextmanager
    def _send(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Iterator[RegistryResponse]:
        host = urlsplit(url).netloc
        deadline = Deadline(self.limits.connect_s + self.limits.answer_s)
        with self._lock:
            self._open.add(deadline)
        try:
            with within(deadline):
                try:
                    response = self._response(url, headers, form)
                except FAULTS as error:
                    late_s = self.limits.answer_s if deadline.passed else None
                    raise of_exception(error, host, late_s=late_s) from None
                with response:
                    yield RegistryResponse(response, url, deadline, self.limits)
        finally:
            deadline.cancel()
            with self._lock:
                self._open.discard(deadline)

    def _response(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> requests.Response:
        given = {"Accept-Encoding": "identity", "User-Agent": "imagebuilder", **headers}
        request = requests.Request("POST" if form else "GET", url, given, data=form).prepare()
        settings: Any = {"proxies": {}, "verify": True, "cert": None}
        if not is_loopback(urlsplit(url).netloc):
            settings = self._session.merge_environment_settings(url, {}, True, None, None)
        self._trust(url)
        # Not by the session: it reads the whole body of a redirect, however long that is, also where none is followed.
        return self._session.get_adapter(url).send(
            request,
            stream=True,
            timeout=(self.limits.connect_s, self.limits.answer_s),
            proxies=settings["proxies"],
            verify=_authorities(settings["verify"]),
        )

    def _trust(self, url: str) -> None:
        """Use the certificates that the machine has for this server alone."""
        parts = urlsplit(url)
        with self._lock:
            if parts.scheme == "https" and parts.netloc not in self._own_certificates:
                self._own_certificates.add(parts.netloc)
                if context := certificates.context_for(parts.netloc):
                    self._session.mount(f"https://{parts.netloc}/", _Adapter(context, pool_maxsize=8))


class _Adapter(HTTPAdapter):
    """Makes connections that a deadline can end, and that know certificates of their own."""

    def __init__(self, context: ssl.SSLContext | None = None, **options: Any) -> None:
        self._context = context
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """As a session has it."""
        if self._context:
            options["ssl_context"] = self._context
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """The same through a proxy."""
        if self._context:
            options["ssl_context"] = self._context
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


def _authorities(asked: Any) -> Any:
    """Whose certificates are believed: those that a variable names, else the system's, else those of ``requests``."""
    if asked is not True:
        return asked
    named = os.environ.get("SSL_CERT_FILE")
    return named or (str(SYSTEM_CERTIFICATES) if SYSTEM_CERTIFICATES.is_file() else True)


def _check_scheme(url: str, *, from_loopback: bool, first: str) -> None:
    """Raises Failure for what may be read or changed on its way, and for a server elsewhere that sends us to services
    of this machine."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.port != 0 and parts.hostname and "@" not in parts.netloc:
            if parts.scheme == "https" and (from_loopback or not is_loopback(parts.netloc)):
                return
            if parts.scheme == "http" and from_loopback and is_loopback(parts.netloc):
                return
    raise Failure(f"{first} redirects to an address that is not asked: it is not HTTPS, or is on this machine")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise Failure(f"{urlsplit(url).netloc} redirects to something that is no address") from None


def _origin(url: str) -> str:
    """Scheme, host and port."""
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
    return ""
