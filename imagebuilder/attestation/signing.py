"""``imagebuilder sign`` from Python: all that is claimed of an image, each in an envelope with a signature."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from imagebuilder import documents
from imagebuilder.attestation import envelope
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError
from imagebuilder.sbom.statement import MOST_BYTES, Statement
from imagebuilder.store import sha256_file

PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
BILLS = {"sbom.cdx.json": CYCLONEDX, "sbom.spdx.json": SPDX}
"""The bills of materials beside an image, and the predicate that each is."""


def subjects(bundle: Bundle) -> dict[str, str]:
    """What is claimed is claimed of all files that a machine needs: their SHA-256 by name."""
    return {path.name: sha256_file(path) for path in bundle.files()}


def file_of(bundle: Bundle) -> Path:
    """Where the envelopes stand, one a line
    (https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md has the name)."""
    return bundle.folder / f"{bundle.image.name}.intoto.jsonl"


def sign(bundle: Bundle, key: Path, *, passphrase: envelope.Passphrase, attestations: Sequence[Path] = ()) -> bytes:
    """Envelopes around the image's provenance, its bills of materials, and the ``attestations``: statements of the same
    image in files, as ``test --attest`` writes them. Raises InputError, ToolMissing."""
    signer = envelope.private_key(key, passphrase)
    return b"".join(envelope.sign(payload, signer) for payload in _payloads(bundle, attestations))


def _payloads(bundle: Bundle, attestations: Sequence[Path]) -> Iterator[bytes]:
    own = subjects(bundle)
    for path in (bundle.folder / "provenance.json", *attestations):
        payload, statement = read(path)
        check_subjects(statement, own, where=str(path))
        yield payload
    for name, predicate in BILLS.items():
        yield Statement(own, predicate, bill(bundle.folder / name)).to_bytes()


def bill(path: Path) -> Any:
    """The bill of materials in a file. Raises InputError."""
    try:
        return documents.json_of(_bytes(path), most_bytes=MOST_BYTES)
    except documents.Damaged as error:
        raise InputError(f"{path} is no JSON document: {error}: build the image again") from error


def read(path: Path) -> tuple[bytes, Statement]:
    """The bytes of a file, and the statement that they are. Raises InputError."""
    data = _bytes(path)
    try:
        return data, Statement.of_bytes(data)
    except documents.Damaged as error:
        raise InputError(f"{path} is no in-toto statement: {error}") from error


def check_subjects(statement: Statement, own: dict[str, str], *, where: str) -> None:
    """Raise InputError unless a statement is about just these files."""
    for name in sorted(own.keys() | statement.subjects.keys()):
        if name not in statement.subjects:
            raise InputError(f"{where} says nothing of {name}: it was made by an older version; build the image again")
        if statement.subjects[name] != own.get(name):
            raise InputError(f"{where} is about another image than the one that stands there: its {name} differs")


def _bytes(path: Path) -> bytes:
    try:
        return documents.read(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}: build the image again") from error
