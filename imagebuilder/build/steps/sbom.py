"""What is in the image and how it was made, as documents beside it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from imagebuilder.build.steps.bundle import BundleResult
from imagebuilder.build.steps.kernel import KernelInputs, KernelResult
from imagebuilder.build.steps.root import RootResult
from imagebuilder.build.steps.source import SourceResult
from imagebuilder.kernel import KernelDefinition, prebuilt
from imagebuilder.sbom import DOCUMENTS
from imagebuilder.sbom.inventory import Inventory, KernelFacts, owned
from imagebuilder.sources.kind import Context, Material
from imagebuilder.store import Store, sha256_file

OURS = "imagebuilder"  # what the image has of ours: init and its configuration
VERSION = re.compile(r"\d+\.\d+(\.\d+)?(-rc\d+)?")  # of Linux


@dataclass(frozen=True)
class SbomInputs:
    """The ``kernel`` as its own step has it, our ``version``, the time of what has none of its own in seconds since
    1970, the paths of the files that the recipe ``added``, and what each of the ``sources`` comes to (JSON)."""

    kernel: KernelInputs
    version: str
    epoch_s: int
    added: tuple[str, ...] = ()
    sources: tuple[Any, ...] = ()


@dataclass(frozen=True)
class SbomResult:
    """The documents by name: the digest of each, which the store holds."""

    documents: Mapping[str, str]

    def save(self, _store: Store) -> dict[str, Any]:
        """As a step's result."""
        return {"documents": {**self.documents}}

    @classmethod
    def load(cls, document: Mapping[str, Any], _store: Store) -> Self:
        """As a step's result."""
        return cls(document["documents"])

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return list(document["documents"].values())


Needs = tuple[BundleResult, KernelResult, RootResult, *tuple[SourceResult, ...]]


def run(inputs: SbomInputs, needs: Needs, context: Context) -> SbomResult:
    """Write them."""
    inventory = _inventory(inputs, *needs)
    return SbomResult({name: context.store.put(write(inventory)) for name, write in DOCUMENTS.items()})


def _inventory(
    inputs: SbomInputs, bundle: BundleResult, kernel: KernelResult, root: RootResult, *sources: SourceResult
) -> Inventory:
    image, definition = bundle.image, inputs.kernel.definition
    layers = [each.layer for each in sources]
    own = f"{image.name}: recipe"
    origins = {path: name for layer in layers for path, name in layer.origins.items()}
    origins |= dict.fromkeys(kernel.modules, definition.name)
    origins |= dict.fromkeys(inputs.added, own)
    files = owned(root.tree, origins, own=OURS)
    known = {
        **{name: each for layer in layers for name, each in layer.materials.items()},
        own: Material(image.name, image.version),
        OURS: Material(OURS, inputs.version, licences=("Apache-2.0",)),
    }
    owners = sorted({each.owner for each in files})
    return Inventory(
        name=image.name,
        version=image.version,
        summary=image.summary,
        digest=image.digest,
        epoch_s=inputs.epoch_s,
        builder=inputs.version,
        subjects=image.digests(),
        kernel=_facts(definition, inputs.kernel),
        materials={name: known.get(name, Material(name)) for name in owners},
        files=files,
        parameters={"recipe": image.model_dump(mode="json")["recipe"], "kernel": definition.name},
        sources=inputs.sources,
    )


def _facts(definition: KernelDefinition, inputs: KernelInputs) -> KernelFacts:
    """The kernel, as its definition and the record of a ready-built one tell it."""
    if (package := definition.package) is not None:
        query = f"arch={definition.architecture.debian}&distro={package.release}"
        purl = f"pkg:deb/debian/{quote(package.name, safe='')}@{quote(package.version, safe='')}?{query}"
        return KernelFacts(definition.name, package.version, purl)
    source = definition.source
    told = VERSION.search(source.version or source.url or "") if source else None
    version = told[0] if told else ""
    record = prebuilt.read_record(definition, inputs.fragments)
    return KernelFacts(
        definition.name,
        version,
        f"pkg:generic/linux@{version}" if version else "",
        source.sha256 if source else "",
        {path.stem: sha256_file(path) for path in definition.patches},
        {path.stem: sha256_file(path) for path in (*definition.fragments, *inputs.fragments)},
        record.config if record else "",
    )
