"""The page of what is in an image: boxes as large as what they stand for, and no text that becomes markup."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.bundle import Bundle, write
from imagebuilder.measure.render.contents import page
from imagebuilder.measure.render.treemap import MOST_BOXES, Box, Group, Leaf, cut, gathered, treemap
from imagebuilder.sbom import DOCUMENTS
from imagebuilder.sbom.inventory import owned
from imagebuilder.sources.kind import Material
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.sbom.test_documents import INVENTORY
from tests.test_bundle import image_of

SIZES = st.lists(st.floats(0.5, 1e9), min_size=1, max_size=MOST_BOXES)
OUTER = Box(10, 20, 1000, 500)


@given(SIZES)
def test_each_box_is_as_large_as_its_share(sizes: list[float]) -> None:
    boxes = cut(sizes, OUTER)
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(OUTER.width * OUTER.height * size / sum(sizes), rel=1e-6)
        assert box.x >= OUTER.x - 1e-6 and box.x + box.width <= OUTER.x + OUTER.width + 1e-6
        assert box.y >= OUTER.y - 1e-6 and box.y + box.height <= OUTER.y + OUTER.height + 1e-6


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=12))
def test_no_two_boxes_overlap(sizes: list[float]) -> None:
    boxes = cut(sizes, OUTER)
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(wide, high) < 1e-6


def test_the_smallest_of_many_share_a_box() -> None:
    found = gathered(Leaf(str(size), size, "") for size in range(1000))
    assert len(found) == MOST_BOXES + 1 and found[0].size == 999
    assert found[-1].name == "749 smaller ones" and sum(leaf.size for leaf in found) == sum(range(1000))


def test_nothing_at_all() -> None:
    assert len(xml.fromstring(treemap([], title="none"))) == 0
    assert len(xml.fromstring(treemap([Group("empty", (Leaf("x", 0, ""),), "c0")], title="none"))) == 0


def test_an_image_with_names_that_are_markup(tmp_path: Path) -> None:
    hostile = "/usr/<script>alert(1)</script>"
    root = Tree({hostile: file(b"x" * 3000), "/usr/bin/app": file(b"y" * 1000)})
    store = Store(tmp_path / "cache")
    image = image_of(store).model_copy(update={"summary": "<b>bold</b>"}).sealed()
    listed = replace(
        INVENTORY,
        files=owned(root, {hostile: "<i>evil</i>"}, own="ours"),
        materials={"<i>evil</i>": Material("<i>evil</i>", "1"), "ours": Material("ours")},
    )
    bundle: Bundle = write(
        image, tmp_path / "app", store, {name: store.put(made(listed)) for name, made in DOCUMENTS.items()}
    )
    text = page(bundle, root, sent_bytes=None)
    assert "<script>" not in text and "<b>bold" not in text and "<i>evil" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "3,000" in text and "&lt;i&gt;evil" in text
    assert page(bundle, root, sent_bytes=None) == text
