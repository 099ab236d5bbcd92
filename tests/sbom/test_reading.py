"""The bill beside an image, read again: what was written, and whatever else stands there."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import documents
from imagebuilder.sbom import DOCUMENTS
from imagebuilder.sbom.reading import BilledFile, of_document
from tests.examples import examples
from tests.sbom.test_documents import INVENTORY

KEYS = ("components", "name", "version", "bom-ref", "properties", "hashes", "value", "alg", "content")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.sampled_from(["imagebuilder:bytes", "12", "٣", "SHA-256", "kernel", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


def test_what_was_written_is_read() -> None:
    bill = of_document(json.loads(DOCUMENTS["sbom.cdx.json"](INVENTORY)))
    assert bill.versions == {name: each.version for name, each in INVENTORY.materials.items()}
    assert bill.files == {each.path: BilledFile(each.sha256, each.bytes, each.owner) for each in INVENTORY.files}
    kernel = INVENTORY.kernel
    assert bill.kernel == {
        "version": kernel.version,
        "definition": kernel.name,
        "config": f"sha256:{kernel.config_sha256}",
        **{f"patch:{name}": f"sha256:{digest}" for name, digest in kernel.patches.items()},
        **{f"fragment:{name}": f"sha256:{digest}" for name, digest in kernel.fragments.items()},
    }


@settings(max_examples=examples(500), deadline=None)
@given(JSON)
def test_whatever_stands_there(document: Any) -> None:
    for each in (document, {"components": [document]}, {"components": [{"components": [document]}]}):
        try:
            of_document(each)
        except documents.Damaged as error:
            assert str(error)
