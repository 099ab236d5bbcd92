"""The bill of materials as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), files below what they are of."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from cyclonedx.model import HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Diff, Patch, PatchClassification, Pedigree
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from imagebuilder.sbom.expressions import expression
from imagebuilder.sbom.inventory import Inventory, KernelFacts, OwnedFile
from imagebuilder.sources.kind import Material

PROPERTY = "imagebuilder:"


def document(inventory: Inventory) -> bytes:
    """The document; without a time of its own, and with a serial number that follows from the image's digest."""
    image = Component(
        name=inventory.name,
        version=inventory.version,
        description=inventory.summary or None,
        type=ComponentType.APPLICATION,
        bom_ref="image",
        hashes=[_sha256(inventory.digest)] if inventory.digest else (),
        properties=[Property(name=f"{PROPERTY}sha256:{name}", value=each) for name, each in inventory.subjects.items()],
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuilder:sbom:{inventory.digest}"),
        metadata=BomMetaData(
            timestamp=datetime.fromtimestamp(inventory.epoch_s, UTC),
            component=image,
            tools=ToolRepository(components=[_builder(inventory.builder)]),
        ),
        components=[_kernel(inventory.kernel), *_materials(inventory)],
    )
    bom.dependencies.add(Dependency(image.bom_ref, [Dependency(each.bom_ref) for each in bom.components]))
    for each in bom.components:
        bom.dependencies.add(Dependency(each.bom_ref))
    return JsonV1Dot6(bom).output_as_string(indent=1).encode() + b"\n"


def _materials(inventory: Inventory) -> Iterable[Component]:
    by_owner = {name: tuple(inventory.files_of(name)) for name in inventory.materials}
    return (_material(each, by_owner[name], name) for name, each in inventory.materials.items())


def _material(material: Material, files: Iterable[OwnedFile], name: str) -> Component:
    return Component(
        name=material.name,
        version=material.version or None,
        type=ComponentType.LIBRARY if material.purl else ComponentType.APPLICATION,
        bom_ref=f"material:{name}",
        purl=PackageURL.from_string(material.purl) if material.purl else None,
        hashes=[_sha256(material.sha256)] if material.sha256 else (),
        licenses=_licences(material.licences),
        components=[_file(each) for each in files],
    )


def _licences(declared: tuple[str, ...]) -> list[License]:
    """One expression of all, beside which CycloneDX takes no second; each by its name where one is no expression."""
    expressions = [expression(words) for words in declared]
    known = [each for each in expressions if each is not None]
    if len(known) < len(declared):
        return [DisjunctiveLicense(name=words) for words in declared]
    return [LicenseExpression(" AND ".join(map(_bracketed, known)))] if known else []


def _kernel(kernel: KernelFacts) -> Component:
    facts = {
        **{f"kernel:patch:{name}": f"sha256:{digest}" for name, digest in kernel.patches.items()},
        **{f"kernel:fragment:{name}": f"sha256:{digest}" for name, digest in kernel.fragments.items()},
        **({"kernel:config": f"sha256:{kernel.config_sha256}"} if kernel.config_sha256 else {}),
        "kernel:definition": kernel.name,
    }
    patches = [
        Patch(type=PatchClassification.UNOFFICIAL, diff=Diff(url=XsUri(f"patches/{name}.patch")))
        for name in kernel.patches
    ]
    return Component(
        name="linux",
        version=kernel.version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref="kernel",
        purl=PackageURL.from_string(kernel.purl) if kernel.purl else None,
        hashes=[_sha256(kernel.source_sha256)] if kernel.source_sha256 else (),
        licenses=[LicenseExpression("GPL-2.0-only WITH Linux-syscall-note")],
        pedigree=Pedigree(patches=patches) if patches else None,
        properties=[Property(name=f"{PROPERTY}{name}", value=value) for name, value in facts.items()],
    )


class _File(Component):
    """A file among others. The library compares components by all that they have, a dozen times each to put them into
    their order: of files it is that of their paths, and no two have the same."""

    __module__, __qualname__ = Component.__module__, Component.__qualname__  # by which it knows how one is written

    def __lt__(self, other: object) -> bool:
        return self.name < other.name if isinstance(other, _File) else super().__lt__(other)

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, _File) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.name)


def _file(each: OwnedFile) -> Component:
    return _File(
        name=each.path,
        type=ComponentType.FILE,
        bom_ref=f"file:{each.path}",
        hashes=[_sha256(each.sha256)],
        properties=[Property(name=f"{PROPERTY}bytes", value=str(each.bytes))],
    )


def _builder(version: str) -> Component:
    return Component(name="imagebuilder", version=version, type=ComponentType.APPLICATION, bom_ref="builder")


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _bracketed(expression: str) -> str:
    return f"({expression})" if " " in expression else expression
