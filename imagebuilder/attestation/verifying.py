"""``imagebuilder verify`` from Python: what the holder of a known key claims of an image, and whether it fits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import documents
from imagebuilder.attestation import boot_tests, envelope
from imagebuilder.attestation.signing import BILLS, CYCLONEDX, PROVENANCE, SPDX, bill, check_subjects, file_of, subjects
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError, Refused
from imagebuilder.sbom.statement import MOST_BYTES, Statement

KINDS: Mapping[str, str] = {
    "provenance": PROVENANCE,
    "cyclonedx": CYCLONEDX,
    "spdx": SPDX,
    "test": boot_tests.PREDICATE,
}
"""What can be required, and the predicate that each is."""
MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """A line of the file of envelopes: its statement and the bytes of that; None where none of the known keys has
    signed it."""

    line: int
    statement: Statement | None
    payload: bytes | None

    @property
    def kind(self) -> str:
        """What it is, in one word; the predicate's type where it is another, ``unknown`` where it does not count."""
        if self.statement is None:
            return "unknown"
        known = {predicate: kind for kind, predicate in KINDS.items()}
        return known.get(self.statement.predicate_type, self.statement.predicate_type)

    @property
    def result(self) -> str | None:
        """PASSED, WARNED or FAILED, of a test."""
        predicate = self.statement.predicate if self.statement and self.kind == "test" else None
        found = predicate.get("result") if isinstance(predicate, Mapping) else None
        return found if isinstance(found, str) else None


def verify(folder: Path, keys: Sequence[Path], *, required: Iterable[str] = ("provenance",),
           attestations: Path | None = None) -> tuple[Claim, ...]:  # fmt: skip
    """All lines of the file of envelopes beside an image (or of ``attestations``), of which those count that one of the
    keys has signed: what they claim fits the image's files, byte by byte, and those that are ``required`` (words of
    KINDS) are among them. Raises Refused when it is otherwise, InputError when there is no image or no envelope."""
    trusted = [envelope.public_key(path) for path in keys]
    bundle = _opened(folder)
    path = attestations or file_of(bundle)
    claims = tuple(_claims(path, trusted))
    own = subjects(bundle)
    for claim in claims:
        if claim.statement is not None:
            _check(claim, claim.statement, bundle, own, where=f"line {claim.line} of {path}")
    if all(claim.statement is None for claim in claims):
        raise Refused(f"nothing of {path} is signed by {_named(keys)}")
    for kind in required:
        if all(claim.kind != kind for claim in claims):
            raise Refused(f"{path} has no '{kind}' that is signed by {_named(keys)}")
    return claims


def _named(keys: Sequence[Path]) -> str:
    return " or ".join(map(str, keys))


def _opened(folder: Path) -> Bundle:
    """The bundle; a kernel or root that is not the one that its description names is refused."""
    bundle = Bundle.open(folder, check=False)
    try:
        bundle.check()
    except InputError as error:
        raise Refused(error.message) from error
    return bundle


def _claims(path: Path, keys: Sequence[Any]) -> Iterator[Claim]:
    try:
        data = documents.read(path, MOST_BYTES)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint="imagebuilder sign NAME --key FILE writes it"
        ) from error
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(data) > MOST_BYTES or len(lines) > MOST_LINES:
        raise InputError(f"{path} is longer than {MOST_BYTES >> 20} MiB, or has more than {MOST_LINES} lines")
    if not lines:
        raise InputError(f"{path} is empty", hint="imagebuilder sign NAME --key FILE writes it")
    for number, line in enumerate(lines, 1):
        try:
            payload = envelope.opened(line, keys)
            yield Claim(number, None if payload is None else Statement.of_bytes(payload), payload)
        except documents.Damaged as error:
            raise InputError(f"line {number} of {path} cannot be used: {error}") from error


def _check(claim: Claim, statement: Statement, bundle: Bundle, own: dict[str, str], *, where: str) -> None:
    """Raise Refused unless what was signed is about this image, and says what the documents beside it say."""
    try:
        check_subjects(statement, own, where=where)
        for name, predicate in BILLS.items():
            beside = bundle.folder / name
            if statement.predicate_type == predicate and beside.exists() and bill(beside) != statement.predicate:
                raise Refused(f"{beside} is not the one that was signed")
        beside = bundle.folder / "provenance.json"
        if claim.kind == "provenance" and beside.exists() and beside.read_bytes() != claim.payload:
            raise Refused(f"{beside} is not the one that was signed")
    except InputError as error:
        raise Refused(error.message) from error
    if claim.kind == "test" and claim.result not in boot_tests.GOOD:
        raise Refused(f"{where}: the boot tests of this image have the result {claim.result}")
