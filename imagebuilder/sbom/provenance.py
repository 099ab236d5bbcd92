"""How an image was made: an in-toto Statement (https://github.com/in-toto/attestation, version 1) with SLSA provenance
(https://slsa.dev/spec/v1.2/provenance). No time and no machine is in it: the same inputs give the same bytes."""

from collections.abc import Iterator
from typing import Any

from imagebuilder.sbom.inventory import Inventory
from imagebuilder.sbom.statement import Statement

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:imagebuilder:build:1"  # docs/sbom.md says what its parameters are
BUILDER = "urn:imagebuilder"


def document(inventory: Inventory) -> bytes:
    """The statement, unsigned (``imagebuilder sign`` puts a signature around it)."""
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {**inventory.parameters},
        "internalParameters": {"epochSeconds": inventory.epoch_s, "sources": [*inventory.sources]},
        "resolvedDependencies": [*_dependencies(inventory)],
    }
    builder = {"id": BUILDER, "version": {"imagebuilder": inventory.builder}}
    predicate = {"buildDefinition": definition, "runDetails": {"builder": builder}}
    return Statement(inventory.subjects, PREDICATE, predicate).to_bytes()


def _dependencies(inventory: Inventory) -> Iterator[dict[str, Any]]:
    kernel = inventory.kernel
    if kernel.purl:
        digest = {"digest": {"sha256": kernel.source_sha256}} if kernel.source_sha256 else {}
        yield {"uri": kernel.purl, "name": "linux", **digest}
    for name, sha256 in kernel.patches.items():
        yield {"name": f"patch {name}", "digest": {"sha256": sha256}}
    for name, sha256 in kernel.fragments.items():
        yield {"name": f"fragment {name}", "digest": {"sha256": sha256}}
    for each in inventory.materials.values():
        if each.sha256:
            yield {"name": each.name, **({"uri": each.purl} if each.purl else {}), "digest": {"sha256": each.sha256}}
