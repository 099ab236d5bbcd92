"""Images of an OCI image layout (image-spec 1.1.1, "image-layout.md"), as ``Content``: a folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.errors import SourceError
from imagebuilder.events import Progress, Say, step
from imagebuilder.oci.content import MOST_DOCUMENT_BYTES, Descriptor, check_digest, checked, in_store, json_of, keep
from imagebuilder.store import Store
from imagebuilder.words import counted, shortened

INDEX = "index.json"
TAG = "org.opencontainers.image.ref.name"
CHUNK_BYTES = 1 << 20
MOST_SHOWN = 8


class Entry(BaseModel):
    """An image of an index."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    mediaType: str = ""
    digest: str
    size: int = Field(ge=0)
    annotations: dict[str, str] | None = None


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    manifests: tuple[Entry, ...] = Field(strict=False)


@dataclass(frozen=True)
class Layout:
    """A folder with ``index.json`` and ``blobs``."""

    folder: Path

    def resolve(self, reference: str | None) -> Descriptor:
        """The manifest or index of a tag; without one, of the only image there is. Raises SourceError."""
        entries = self._entries()
        tagged = {(each.annotations or {}).get(TAG, ""): each for each in entries}
        named = ", ".join(sorted(shortened(tag) for tag in tagged if tag)[:MOST_SHOWN])
        if reference is not None:
            if reference not in tagged:
                tags = f"it has {named}" if named else "it has none: leave the tag out"
                raise SourceError(f"{self.folder} has no tag {shortened(reference)}", hint=tags)
            same = {each.digest for each in entries if (each.annotations or {}).get(TAG, "") == reference}
            if len(same) > 1:
                raise SourceError(f"{self.folder} has {counted(len(same), 'image')} of the tag {shortened(reference)}")
            return _descriptor(tagged[reference])
        if len({each.digest for each in entries}) != 1:
            hint = f'name one of them, as tag = "…": {named}' if named else None
            raise SourceError(f"{self.folder} has {counted(len(entries), 'image')}, and one is to be taken", hint=hint)
        return _descriptor(entries[0])

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or configuration. Raises SourceError."""
        if descriptor.size_bytes > MOST_DOCUMENT_BYTES:
            raise SourceError(f"{self.folder}: {descriptor.short} is longer than {MOST_DOCUMENT_BYTES >> 20} MiB")
        return checked(b"".join(self._read(descriptor)), descriptor)

    def blobs(self, descriptors: Sequence[Descriptor], into: Store, say: Say) -> dict[str, Path]:
        """The layers, as files of the store. Raises SourceError, OutputError."""
        found: dict[str, Path] = {}
        name, total = f"read {self.folder}", sum(max(0, each.size_bytes) for each in descriptors)
        done = 0
        with step(say, name, name, total=total):
            for each in descriptors:
                found[each.digest] = in_store(each, into) or keep(self._read(each), each, into)
                done += max(0, each.size_bytes)
                say(Progress(name, done))
        return found

    def _entries(self) -> tuple[Entry, ...]:
        path = self.folder / INDEX
        try:
            return _Index.model_validate(json_of(bounded(self._chunks(INDEX), path))).manifests
        except OSError as error:
            raise SourceError(f"{self.folder} is no OCI layout: {INDEX} cannot be read ({error.strerror})") from error
        except documents.Damaged as error:
            raise SourceError(f"{path} is no JSON document: {error}") from error
        except ValidationError as error:
            mistake = documents.mistake_in(error)
            raise SourceError(f"{path} is not as the specification has it: {mistake}") from error

    def _read(self, descriptor: Descriptor) -> Iterator[bytes]:
        name = f"blobs/{check_digest(descriptor.digest).replace(':', '/')}"
        try:
            yield from self._chunks(name)
        except OSError as error:
            raise SourceError(f"{self.folder / name} cannot be read: {error.strerror}") from error

    def _chunks(self, name: str) -> Iterator[bytes]:
        """What is in a file, in pieces. Raises OSError."""
        with (self.folder / name).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def bounded(chunks: Iterator[bytes], path: Path) -> bytes:
    """A file that is no longer than documents are. Raises SourceError."""
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) > MOST_DOCUMENT_BYTES:
            raise SourceError(f"{path} is longer than {MOST_DOCUMENT_BYTES >> 20} MiB")
    return data


def _descriptor(entry: Entry) -> Descriptor:
    return Descriptor(entry.mediaType, check_digest(entry.digest), entry.size)
