"""Container images in one file, as ``Content``: an OCI layout as a tar archive, and what ``docker save`` writes.

The archive is not unpacked: where each of its files begins is read first, and a content is read from there.
"""

import errno
import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents, tarball
from imagebuilder.errors import SourceError
from imagebuilder.oci.content import CONFIGURATION, LAYER, MANIFEST, Hash, check_digest, digest_of, json_of
from imagebuilder.oci.layers import GZIP, ZSTD
from imagebuilder.oci.layout import CHUNK_BYTES, INDEX, TAG, Entry, Layout, bounded
from imagebuilder.oci.manifest import Configuration, read
from imagebuilder.words import shortened

SAVED = "manifest.json"
PACKED = (GZIP, ZSTD, b"\xfd7zXZ\0", b"BZh")
MOST_IMAGES = 100


class _Saved(BaseModel):
    """An image of ``docker save``: the names of its files in the archive."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    Config: str
    RepoTags: tuple[str, ...] | None = Field(default=None, strict=False)
    Layers: tuple[str, ...] = Field(strict=False)


class _AllSaved(BaseModel):
    images: tuple[_Saved, ...] = Field(max_length=MOST_IMAGES)


@dataclass(frozen=True)
class Archive(Layout):
    """A tar archive; of one of ``docker save`` that has no ``index.json``, manifests are made as the specification
    has them."""

    def _entries(self) -> tuple[Entry, ...]:
        return super()._entries() if INDEX in self._places else (*self._images.entries,)

    def _chunks(self, name: str) -> Iterator[bytes]:
        if INDEX in self._places:
            return self._member(name)
        made = self._images.manifests.get(name)
        return iter([made]) if made is not None else self._member(self._images.names.get(name, name))

    @cached_property
    def _places(self) -> dict[str, tarball.Place]:
        try:
            with self.folder.open("rb") as stream:
                if stream.read(8).startswith(PACKED):
                    raise SourceError(f"{self.folder} is a packed archive: give the archive that it unpacks to")
                stream.seek(0)
                return {posixpath.normpath(name): each for name, each in tarball.places(stream, str(self.folder))}
        except tarball.DAMAGED as error:
            raise SourceError(f"{self.folder} is no tar archive, or damaged: {shortened(str(error))}") from error

    def _place(self, name: str) -> tuple[int, int]:
        """Where a member's content begins, and how long it is. Raises FileNotFoundError."""
        place = self._places.get(name)
        if isinstance(place, str):  # docker save links layers that are the same
            place = self._places.get(posixpath.normpath(place))
        if not isinstance(place, tuple):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return place

    def _member(self, name: str) -> Iterator[bytes]:
        begin, left = self._place(name)
        with self.folder.open("rb") as stream:
            stream.seek(begin)
            while left > 0 and (chunk := stream.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

    @cached_property
    def _images(self) -> "_Images":
        """What ``docker save`` wrote. Raises SourceError."""
        if SAVED not in self._places:
            raise SourceError(f"{self.folder} has neither {INDEX} nor {SAVED}: it is no archive of container images")
        try:
            document = json_of(bounded(self._member(SAVED), self.folder / SAVED))
            saved = _AllSaved.model_validate({"images": document}).images
        except documents.Damaged as error:
            raise SourceError(f"{self.folder}: {SAVED} is no JSON document: {error}") from error
        except ValidationError as error:
            mistake = documents.mistake_in(error)
            raise SourceError(f"{self.folder}: {SAVED} is not as docker save writes it: {mistake}") from error
        found = _Images()
        for image in saved:
            manifest = self._manifest(image, found)
            digest = digest_of(manifest)
            found.manifests[_blob(digest)] = manifest
            tags: list[dict[str, str]] = [{TAG: tag} for tag in image.RepoTags or ()]
            for annotations in tags or [{}]:
                entry = Entry(mediaType=MANIFEST, digest=digest, size=len(manifest), annotations=annotations)
                found.entries.append(entry)
        return found

    def _manifest(self, image: _Saved, found: "_Images") -> bytes:
        """The manifest of an image; ``found`` gets the names of what it has digests of."""
        name, what = posixpath.normpath(image.Config), f"configuration {shortened(image.Config)}"
        try:
            data = bounded(self._member(name), self.folder / name)
            ids = read(Configuration, data, f"the {what} of {self.folder}").rootfs.diff_ids
            if len(ids) != len(image.Layers):
                counts = f"it has {len(image.Layers)} layers, and its configuration lists {len(ids)}"
                raise SourceError(f"{self.folder} is damaged: {counts}")
            config = self._named(name, digest_of(data), CONFIGURATION, found)
            layers = []
            for layer, diff_id in zip(image.Layers, ids, strict=True):
                name, what = posixpath.normpath(layer), f"layer {shortened(layer)}"
                layers.append(self._named(name, self._digest(name, diff_id), LAYER, found))
        except OSError as error:
            raise SourceError(f"{self.folder}: its {what} is not there") from error
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()

    def _named(self, name: str, digest: str, kind: str, found: "_Images") -> dict[str, Any]:
        found.names[_blob(digest)] = name
        return {"mediaType": kind, "digest": digest, "size": self._place(name)[1]}

    def _digest(self, name: str, diff_id: str) -> str:
        """The digest of a layer; one that is not packed has that of what it unpacks to."""
        chunks = self._member(name)
        first = next(chunks, b"")
        if not first.startswith(PACKED):
            return check_digest(diff_id)
        found = Hash()
        found.update(first)
        for chunk in chunks:
            found.update(chunk)
        return found.digest


@dataclass
class _Images:
    """Images of ``docker save`` as those of a layout: manifests, and what other contents are called, by the names that
    they have in a layout."""

    entries: list[Entry] = field(default_factory=list)
    manifests: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def _blob(digest: str) -> str:
    """What a content is called in a layout."""
    return f"blobs/{digest.replace(':', '/')}"
