"""An in-toto Statement, version 1: something that is claimed of files
(https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from imagebuilder import documents

TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MOST_BYTES = 64 << 20  # bills of materials have a line a file


@dataclass(frozen=True, slots=True)
class Statement:
    """``subjects`` are the files that it is about: their SHA-256 by name. ``predicate_type`` is the URI that says how
    the ``predicate`` is to be read."""

    subjects: Mapping[str, str]
    predicate_type: str
    predicate: Any

    def to_bytes(self) -> bytes:
        """As JSON, to be read by people too; the same statement gives the same bytes."""
        document = {
            "_type": TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in self.subjects.items()],
            "predicateType": self.predicate_type,
            "predicate": self.predicate,
        }
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """The statement in a document. Raises ``documents.Damaged``, which says what is wrong with it."""
        document = documents.json_of(data, most_bytes=MOST_BYTES)
        if not isinstance(document, dict) or document.get("_type") != TYPE:
            raise documents.Damaged(f"it is no statement of type {TYPE}")
        subjects, predicate_type = document.get("subject"), document.get("predicateType")
        if not isinstance(subjects, list) or not subjects or not isinstance(predicate_type, str):
            raise documents.Damaged("it lacks a subject or predicateType")
        return cls(dict(map(_subject, subjects)), predicate_type, document.get("predicate"))


def _subject(entry: Any) -> tuple[str, str]:
    match entry:
        case {"name": str(name), "digest": {"sha256": str(digest)}}:
            return name, digest
    raise documents.Damaged("one of its subjects has no name or no SHA-256")
