"""How an image in a registry is named: ``HOST[:PORT]/NAME[:TAG][@DIGEST]``, as Docker, Podman and skopeo read it.

The grammar is that of the ``reference`` package of distribution (github.com/distribution/reference, "reference.go"):
what stands before the first ``/`` is a host when it has a dot, a colon or a capital, or is ``localhost``; everything
else is of Docker Hub, whose official images stand under ``library/``.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

from imagebuilder.errors import InputError
from imagebuilder.oci.content import DIGEST
from imagebuilder.words import shortened

DOCKER_HUB = "docker.io"
DOCKER_HUB_SERVER = "registry-1.docker.io"
USUAL_TAG = "latest"
MOST_CHARACTERS = 1024
MOST_NAME_CHARACTERS = 255
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

_LABEL = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"
HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_WORDS = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
NAME = re.compile(rf"{_WORDS}(?:/{_WORDS})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
SUCH_AS = 'such as "docker.io/library/nginx:1.27" or "registry.example.com/team/app@sha256:…"'


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by its registry (``HOST[:PORT]``), the repository there, and a tag, a digest or both; with both the
    digest counts."""

    host: str
    name: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"

    @property
    def repository(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.host}/{self.name}"

    @property
    def asked(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or USUAL_TAG


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine itself: what needs no TLS."""
    found = HOST.fullmatch(host)
    return found is not None and found["name"].lower() in LOOPBACK


def parse(text: str) -> Reference:
    """The image that is meant. Raises InputError, which repeats nothing that may be a password."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the name of an image is longer than {MOST_CHARACTERS:,} characters")
    if "://" in text:
        raise InputError(
            "the name of an image in a registry begins with no scheme", hint=f"{SUCH_AS}, without https://"
        )
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        _refuse_digest(digest)
    head, slash, tail = rest.partition("/")
    is_host = slash and (head != head.lower() or re.search("[.:]", head) or head == "localhost")
    host, path = (head, tail) if is_host else (DOCKER_HUB, rest)
    name, colon, tag = path.partition(":")
    if host in ("index.docker.io", DOCKER_HUB_SERVER):
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    _check(text, host, name, tag if colon else None)
    return Reference(host, name, tag if colon else None, digest if at else None)


def _check(text: str, host: str, name: str, tag: str | None) -> None:
    found = HOST.fullmatch(host)
    if found is None or not 0 < int(found["port"] or 1) < 1 << 16:
        raise InputError(f'"{shortened(host)}" is no host of a registry', hint=SUCH_AS)
    if name != name.lower() and NAME.fullmatch(name.lower()):
        raise InputError(
            f'"{shortened(name)}" has capitals, as no repository has', hint=f'did you mean "{name.lower()}"?'
        )
    if not NAME.fullmatch(name) or len(name) > MOST_NAME_CHARACTERS:
        shown = shortened(name.removeprefix("library/") or text)
        raise InputError(f'"{shown}" is no name of a repository: a-z, 0-9, and . _ - / between them', hint=SUCH_AS)
    if tag is not None and not TAG.fullmatch(tag):
        why = "letters, digits, and . _ - behind the first, at most 128"
        raise InputError(f'"{shortened(tag)}" is no tag: {why}', hint=SUCH_AS)


def _refuse_digest(digest: str) -> NoReturn:
    """What stands behind an ``@`` is no digest: it may be the host behind a user and a password."""
    if "/" in digest or not re.match("[a-z0-9+._-]+:", digest):
        raise InputError(
            "what stands behind @ in the name of an image is no digest, and a user and a password have no place there",
            hint="docker login, podman login or skopeo login keeps them where imagebuilder finds them",
        )
    raise InputError(f'"{shortened(digest)}" is no digest', hint="sha256: and 64 digits of 0-9 and a-f")
