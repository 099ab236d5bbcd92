"""What container images are made of, wherever they come from: contents that are named by their digests.

Media types are those of the OCI Image Format Specification 1.1.1 ("media-types.md") and of Docker's Image Manifest
Version 2, Schema 2; the two families have the same structure.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imagebuilder import documents
from imagebuilder.errors import SourceError
from imagebuilder.events import Say
from imagebuilder.store import Store
from imagebuilder.words import shortened

OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
INDEXES = frozenset({f"{OCI}.index.v1+json", f"{DOCKER}.distribution.manifest.list.v2+json"})
MANIFEST = f"{OCI}.manifest.v1+json"
MANIFESTS = frozenset({MANIFEST, f"{DOCKER}.distribution.manifest.v2+json"})
CONFIGURATION = f"{OCI}.config.v1+json"
CONFIGURATIONS = frozenset({CONFIGURATION, f"{DOCKER}.container.image.v1+json"})
LAYER = f"{OCI}.layer.v1.tar"
# Media type of a layer -> how it is packed.
LAYERS: Mapping[str, str] = {
    LAYER: "",
    f"{OCI}.layer.v1.tar+gzip": "gzip",
    f"{OCI}.layer.v1.tar+zstd": "zstd",
    f"{DOCKER}.image.rootfs.diff.tar": "",
    f"{DOCKER}.image.rootfs.diff.tar.gzip": "gzip",
    f"{DOCKER}.image.rootfs.diff.tar.zstd": "zstd",
}
# How the types of layers begin that registries need not have, and that may not be redistributed: those of Windows.
FOREIGN = (f"{OCI}.layer.nondistributable.", f"{DOCKER}.image.rootfs.foreign.")
# As registries and other clients have it: a manifest, an index or a configuration is no longer.
MOST_DOCUMENT_BYTES = 4 << 20
# The algorithms that the specification registers, with the digits of each.
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in the words of Go."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A content by its digest (``sha256:…``), with its size and media type; ``size_bytes`` below 0 is not known (a
    registry need not say it of a tag). ``platform`` is that of an index's entry, ``urls`` where else a layer is."""

    media_type: str
    digest: str
    size_bytes: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The digest as messages have it."""
        return self.digest[: self.digest.index(":") + 13]


class Content(Protocol):
    """Where images come from: a registry's repository, an OCI layout, an archive."""

    def resolve(self, reference: str | None) -> Descriptor:
        """The manifest or index that a tag or a digest means; None where there is but one. Raises SourceError."""

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or configuration, checked, at most ``MOST_DOCUMENT_BYTES``; of the media types only those
        of configurations must be given. Raises SourceError."""

    def blobs(self, descriptors: Sequence[Descriptor], into: Store, say: Say) -> dict[str, Path]:
        """The layers by their digests, as files of the store that were checked while they came, whatever their media
        types; one that the store has is not asked for. Raises SourceError, OutputError for a store that is full."""


def check_digest(text: str) -> str:
    """A digest that can be checked. Raises SourceError for any other text."""
    if DIGEST.fullmatch(text):
        return text
    raise SourceError(f'"{shortened(text)}" is no digest: sha256: and 64 digits, or sha512: and 128')


def json_of(data: bytes) -> Any:
    """A manifest, an index or a configuration, as long as they may be. Raises documents.Damaged."""
    return documents.json_of(data, most_bytes=MOST_DOCUMENT_BYTES)


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def checked(data: bytes, descriptor: Descriptor) -> bytes:
    """The bytes, which are those that the descriptor names. Raises SourceError."""
    return b"".join(checking([data], descriptor))


def checking(chunks: Iterable[bytes], descriptor: Descriptor, *, seen: "Hash | None" = None) -> Iterator[bytes]:
    """The chunks as they come, checked when they end, and bounded by the descriptor's size before that. ``seen`` is the
    hash object of what came before (a download that is resumed); its bytes count in the size. Raises SourceError."""
    algorithm, _, _ = check_digest(descriptor.digest).partition(":")
    found = seen.copy() if seen is not None else Hash(algorithm)
    for chunk in chunks:
        found.update(chunk)
        if 0 <= descriptor.size_bytes < found.size_bytes:
            raise SourceError(f"{descriptor.short} is longer than the {descriptor.size_bytes:,} bytes that it is to be")
        yield chunk
    if 0 <= descriptor.size_bytes != found.size_bytes:
        said = f"{found.size_bytes:,} bytes instead of {descriptor.size_bytes:,}"
        raise SourceError(f"{descriptor.short} is cut off: {said}")
    if found.digest != descriptor.digest:
        raise SourceError(f"{descriptor.short} is damaged: its content has the digest {found.digest}")


class Hash:
    """A digest in the making, and how many bytes it is of."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.size_bytes = 0
        self._hash = hashlib.new(algorithm)

    def update(self, data: bytes) -> None:
        """So much more."""
        self._hash.update(data)
        self.size_bytes += len(data)

    @property
    def digest(self) -> str:
        """The digest of what came until now."""
        return f"{self.algorithm}:{self._hash.hexdigest()}"

    def copy(self) -> "Hash":
        """The same, to go on with."""
        other = Hash(self.algorithm)
        other.size_bytes, other._hash = self.size_bytes, self._hash.copy()
        return other


def in_store(descriptor: Descriptor, store: Store) -> Path | None:
    """The file of the store with a content, where it is there (by its SHA-256; unchecked: it is when it is read)."""
    algorithm, _, hexadecimal = descriptor.digest.partition(":")
    return store.place(hexadecimal) if algorithm == "sha256" and store.has(hexadecimal) else None


def keep(chunks: Iterable[bytes], descriptor: Descriptor, store: Store) -> Path:
    """Keep a content that comes in pieces, checked while it comes; returns the store's file. What goes wrong leaves
    nothing. Raises SourceError, OutputError. Errors of a connection are to be SourceErrors before they come here: an
    OSError is taken for the store's."""
    return store.place(store.put_chunks(checking(chunks, descriptor)))
