"""What takes a compiler and is kept ready in a folder, with the record of what it was made from.

::

    FOLDER/record.json   what it was made from and what it is; its ``schema`` says which kind it is of
    FOLDER/NAME          a file, as it is
    FOLDER/NAME.xz       a file, packed
"""

import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from imagebuilder import documents, xz
from imagebuilder.store import sha256

FOLDER, RECORD, PACKED = "prebuilt", "record.json", ".xz"


class Unreadable(ValueError):
    """A file that is kept is missing, damaged or larger than anything that is kept."""


class PrebuiltRecord(Protocol):
    """A record: a dataclass of pydantic, which says itself what makes sense."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def schema(self) -> str:
        """Which kind of record it is."""


R = TypeVar("R", bound=PrebuiltRecord)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[R]):
    """The folder in which one thing is kept, and the type and schema of its record."""

    folder: Path
    kind: type[R]
    schema: str

    def record(self) -> R | None:
        """The record; nothing when there is none, or none that makes sense."""
        try:
            document = json.dumps(documents.load_json(self.folder / RECORD))  # JSON: a strict type takes its lists
            record = TypeAdapter(self.kind).validate_json(document)
        except (OSError, ValueError):
            return None
        return record if record.schema == self.schema else None

    def read(self, name: str, most_bytes: int) -> bytes:
        """A file, unpacked. Raises Unreadable."""
        path = self.folder / name
        try:
            with path.open("rb") as stream:
                data = (xz.stream(stream) if name.endswith(PACKED) else stream).read(most_bytes + 1)
        except (OSError, lzma.LZMAError, EOFError) as error:
            raise Unreadable(f"{path} is missing or damaged: {error}") from error
        if len(data) > most_bytes:
            raise Unreadable(f"{path} is refused: it unpacks to more than {most_bytes:,} bytes")
        return data

    def holds(self, name: str, digest: str, most_bytes: int) -> bool:
        """Whether a file is there and has this digest (SHA-256, unpacked)."""
        try:
            return sha256(self.read(name, most_bytes)) == digest
        except Unreadable:
            return False

    def keep(self, record: R, files: Mapping[str, bytes], *, filters: Sequence[Mapping[str, Any]] = ()) -> None:
        """Keep these files by their names, packed with the filters of xz where the name says so, and their record."""
        self.folder.mkdir(exist_ok=True, parents=True)
        for name, data in files.items():
            packed = lzma.compress(data, filters=[*filters] or None) if name.endswith(PACKED) else data
            (self.folder / name).write_bytes(packed)
        (self.folder / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n")
