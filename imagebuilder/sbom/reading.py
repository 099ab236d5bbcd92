"""What the bill of materials beside an image says: the CycloneDX document that ``cyclonedx.py`` writes, read again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuilder import documents
from imagebuilder.errors import InputError

FILE = "sbom.cdx.json"
PREFIX = "imagebuilder:"
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class BilledFile:
    """A regular file of an image: the SHA-256 of its content, its size, and whose it is."""

    sha256: str
    bytes: int
    owner: str


@dataclass(frozen=True)
class Bill:
    """The versions of what an image is of, by name; its files by path; of its kernel the version and what is known of
    how it was made (definition, configuration, patches and fragments, by their hashes), by name."""

    versions: Mapping[str, str]
    files: Mapping[str, BilledFile]
    kernel: Mapping[str, str] = field(default_factory=dict)


def read(folder: Path) -> Bill:
    """The bill of the image in a folder. Raises InputError when there is none, or one that is not ours."""
    path = folder / FILE
    try:
        return of_document(documents.json_of(documents.read(path, MOST_BYTES), most_bytes=MOST_BYTES))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}: build the image again") from error
    except documents.Damaged as error:
        raise InputError(f"{path} is not what a build writes: {error}: build the image again") from error


def of_document(document: Any) -> Bill:
    """The bill in a document. Raises ``documents.Damaged``."""
    versions: dict[str, str] = {}
    files: dict[str, BilledFile] = {}
    kernel: dict[str, str] = {}
    for each in _components(document):
        name, version = _text(each, "name"), _text(each, "version")
        reference = _text(each, "bom-ref")
        if reference == "kernel":
            kernel = {"version": version, **_properties(each)}
            continue
        owner = reference.partition(":")[2] or name
        versions[owner] = version
        files |= {_text(one, "name"): _file(one, owner) for one in _components(each)}
    return Bill(versions, files, kernel)


def _components(document: Any) -> Iterator[Mapping[str, Any]]:
    found = document.get("components", []) if isinstance(document, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise documents.Damaged("its components are no list of objects")
    yield from found


def _file(component: Mapping[str, Any], owner: str) -> BilledFile:
    size = _properties(component).get("bytes", "")
    if not size.isascii() or not size.isdecimal() or len(size) > len(str(2**63)):
        raise documents.Damaged(f"{documents.shown((_text(component, 'name'),))} has no size")
    hashes = component.get("hashes")
    for each in hashes if isinstance(hashes, list) else ():
        match each:
            case {"alg": "SHA-256", "content": str(digest)}:
                return BilledFile(digest, int(size), owner)
    raise documents.Damaged(f"{documents.shown((_text(component, 'name'),))} has no SHA-256")


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    """Our own, by their names without what they begin with."""
    found: Iterable[Any] = component.get("properties") or ()
    known = {}
    for each in found if isinstance(found, list) else ():
        match each:
            case {"name": str(name), "value": str(value)} if name.startswith(PREFIX):
                known[name.removeprefix(PREFIX).removeprefix("kernel:")] = value
    return known


def _text(component: Mapping[str, Any], key: str) -> str:
    found = component.get(key, "")
    if not isinstance(found, str):
        raise documents.Damaged(f"the {key} of a component is no text")
    return found
