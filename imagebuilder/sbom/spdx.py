"""The bill of materials as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/)."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from spdx_tools.common.spdx_licensing import spdx_licensing
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    ExtractedLicensingInfo,
    File,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.spdx_element_utils import calculate_package_verification_code

from imagebuilder.sbom.expressions import REFERENCE, expression, reference
from imagebuilder.sbom.inventory import Inventory, OwnedFile
from imagebuilder.sources.kind import Material
from imagebuilder.store import key_of

NAMESPACE = "https://spdx.org/spdxdocs/imagebuilder"  # a name, and no address: nothing is there


def document(inventory: Inventory) -> bytes:
    """The document; without a time of its own, and in a namespace that follows from the image's digest."""
    licences = _Licences()
    image = _package("image", inventory.name, inventory.version, PackagePurpose.OPERATING_SYSTEM)
    kernel = _package("kernel", "linux", inventory.kernel.version, PackagePurpose.OPERATING_SYSTEM)
    kernel.license_declared = licences.parsed("GPL-2.0-only WITH Linux-syscall-note")
    kernel.checksums = _checksums(inventory.kernel.source_sha256)
    kernel.external_references = _purl(inventory.kernel.purl)
    kernel.comment = _kernel_comment(inventory)
    packages, files = [image, kernel], list[File]()
    relations = [
        Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, image.spdx_id),
        Relationship(image.spdx_id, RelationshipType.CONTAINS, kernel.spdx_id),
    ]
    for number, (name, material) in enumerate(inventory.materials.items(), 1):
        own = [_file(each) for each in inventory.files_of(name)]
        package = _material(f"material-{number}", material, own, licences)
        packages.append(package)
        files.extend(own)
        relations.append(Relationship(image.spdx_id, RelationshipType.CONTAINS, package.spdx_id))
        relations += (Relationship(package.spdx_id, RelationshipType.CONTAINS, each.spdx_id) for each in own)
    created = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=inventory.name,
        document_namespace=f"{NAMESPACE}/{inventory.name}-{inventory.digest}",
        creators=[Actor(ActorType.TOOL, f"imagebuilder-{inventory.builder}")],
        created=datetime.fromtimestamp(inventory.epoch_s, UTC).replace(tzinfo=None),
    )
    made = Document(created, packages, files, relationships=relations, extracted_licensing_info=licences.extracted)
    return json.dumps(_described(made), indent=1, ensure_ascii=False).encode() + b"\n"


def _described(made: Document) -> Any:
    return DocumentConverter().convert(made)


def _package(identity: str, name: str, version: str, purpose: PackagePurpose) -> Package:
    return Package(
        spdx_id=f"SPDXRef-{identity}",
        name=name,
        version=version or None,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_concluded=SpdxNoAssertion(),
        license_declared=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
        primary_package_purpose=purpose,
    )


def _material(identity: str, material: Material, files: list[File], licences: "_Licences") -> Package:
    """A package as the image holds it: the files are those that are in the image, and so is the verification code."""
    package = _package(identity, material.name, material.version, PackagePurpose.LIBRARY)
    package.checksums = _checksums(material.sha256)
    package.external_references = _purl(material.purl)
    if material.licences:
        package.license_declared = licences.all_of(material.licences)
    if files:
        package.files_analyzed = True
        package.verification_code = calculate_package_verification_code(files)
    return package


def _file(each: OwnedFile) -> File:
    checksums = [Checksum(ChecksumAlgorithm.SHA1, each.sha1), *_checksums(each.sha256)]
    identity = f"SPDXRef-file-{key_of(each.path)[:20]}"
    return File(f".{each.path}", identity, checksums, copyright_text=SpdxNoAssertion())


def _checksums(sha256: str) -> list[Checksum]:
    return [Checksum(ChecksumAlgorithm.SHA256, sha256)] if sha256 else []


def _purl(purl: str) -> list[ExternalPackageRef]:
    return [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", purl)] if purl else []


def _kernel_comment(inventory: Inventory) -> str:
    kernel = inventory.kernel
    return "; ".join(
        (
            f"definition {kernel.name}",
            *(f"patch {name} sha256:{digest}" for name, digest in kernel.patches.items()),
            *(f"fragment {name} sha256:{digest}" for name, digest in kernel.fragments.items()),
            *((f"configuration sha256:{kernel.config_sha256}",) if kernel.config_sha256 else ()),
        )
    )


class _Licences:
    """Expressions, and what has to be said of the licences in them that are not SPDX's."""

    def __init__(self) -> None:
        self._references: dict[str, ExtractedLicensingInfo] = {}

    @property
    def extracted(self) -> list[ExtractedLicensingInfo]:
        """Each licence that SPDX has no name for; its words stand in the package's copyright file."""
        return [each for _, each in sorted(self._references.items())]

    def all_of(self, declared: Iterable[str]) -> Any:
        """An expression of all that a package declares; what is no expression keeps its own words."""
        found = {words: expression(words) or reference(words) for words in declared}
        made = self.parsed(" AND ".join(f"({each})" for each in found.values()))
        for words, key in found.items():
            if expression(words) is None:
                self._references[key] = ExtractedLicensingInfo(key, words, words)
        return made

    def parsed(self, words: str) -> Any:
        """The expression as the library has it."""
        found = spdx_licensing.parse(words)
        for key in _references(found.literals):
            text = "the words of this licence are in the package's copyright file, /usr/share/doc/PACKAGE/copyright"
            self._references[key] = ExtractedLicensingInfo(key, text, key.removeprefix(REFERENCE))
        return found


def _references(symbols: Iterable[Any]) -> Iterator[str]:
    return (key for key in (str(symbol) for symbol in symbols) if key.startswith(REFERENCE))
