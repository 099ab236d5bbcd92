"""The bill of materials of an image and how it was made: CycloneDX, SPDX and SLSA provenance, the same bytes each time.

``inventory.py`` says what is in an image as a value; the others write it in one format each, a row of ``DOCUMENTS``.
"""

from collections.abc import Callable, Mapping

from imagebuilder.sbom.inventory import Inventory


def _cyclonedx(inventory: Inventory) -> bytes:
    from imagebuilder.sbom import cyclonedx

    return cyclonedx.document(inventory)


def _spdx(inventory: Inventory) -> bytes:
    from imagebuilder.sbom import spdx

    return spdx.document(inventory)


def _provenance(inventory: Inventory) -> bytes:
    from imagebuilder.sbom import provenance

    return provenance.document(inventory)


# Each document beside an image by its file's name. What writes one is loaded when it is written.
DOCUMENTS: Mapping[str, Callable[[Inventory], bytes]] = {
    "sbom.cdx.json": _cyclonedx,
    "sbom.spdx.json": _spdx,
    "provenance.json": _provenance,
}
