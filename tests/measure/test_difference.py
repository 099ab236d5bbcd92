"""In what two images differ, by their folders and by reports."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import kernel
from imagebuilder.bundle import Bundle, Image, write
from imagebuilder.errors import InputError
from imagebuilder.kernel import prebuilt
from imagebuilder.measure.difference import Change, difference
from imagebuilder.sbom import DOCUMENTS
from imagebuilder.sbom.inventory import Inventory
from imagebuilder.sources.kind import Material
from imagebuilder.store import Store
from tests.measure.reports import FULL, given
from tests.sbom.test_documents import INVENTORY
from tests.test_bundle import image_of

Made = Callable[..., Bundle]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Lay down an image: what differs from the usual one, and from the usual inventory."""
    store = Store(tmp_path / "cache")

    def make(name: str, image: Callable[[Image], Image] = lambda image: image, **inventory: Any) -> Bundle:
        changed = image(image_of(store)).sealed()
        listed: Inventory = replace(INVENTORY, subjects=changed.digests(), **inventory)
        documents = {file: store.put(content(listed)) for file, content in DOCUMENTS.items()}
        return write(changed, tmp_path / name, store, documents)

    return make


def boots(image: Image, **changed: Any) -> Image:
    """The image with another way to boot."""
    return image.model_copy(update={"boot": image.boot.model_copy(update=changed)})


def file_of(name: str, folder: Path) -> Callable[[Image], Image]:
    """The image with a kernel that ships."""
    definition = kernel.load_definition(name)
    record = prebuilt.read_record(definition)
    assert record is not None and prebuilt.unpacked(definition, Store(folder / "cache"))
    return lambda image: image.model_copy(
        update={"kernel": image.kernel.model_copy(update={"name": name, "sha256": record.digest})}
    )


def test_the_same_image_does_not_differ(made: Made) -> None:
    found = difference(made("one"), made("other"))
    assert found.same and not found.notes and not any(found.sections.values())


def test_what_boots(made: Made) -> None:
    found = difference(made("one"), made("other", lambda image: boots(image, memory_mib=64, ports=(80, 443))))
    assert not found.same
    assert found.sections["image"] == (Change("memory_mib", 32, 64), Change("ports", "[80]", "[80, 443]"))


def test_packages_files_and_the_kernel(made: Made) -> None:
    materials = {**INVENTORY.materials, "app": Material("app", "1.2-4"), "new": Material("new", "1")}
    files = (*INVENTORY.files[1:], replace(INVENTORY.files[0], path="/usr/bin/new", owner="new"))
    quicker = replace(INVENTORY.kernel, version="6.12.2", patches={"quicker": "c" * 64})
    found = difference(made("one"), made("other", materials=materials, files=files, kernel=quicker)).sections
    assert found["packages"] == (Change("app", "1.2-3", "1.2-4"), Change("new", None, "1"))
    assert {each.name for each in found["files"]} == {INVENTORY.files[0].path, "/usr/bin/new"}
    assert found["kernel"] == (
        Change("patch:quick", f"sha256:{'b' * 64}", None),
        Change("patch:quicker", None, f"sha256:{'c' * 64}"),
        Change("version", "6.12.1", "6.12.2"),
    )


def test_a_root_that_differs_in_no_content_is_named(made: Made) -> None:
    def other(image: Image) -> Image:
        return image.model_copy(update={"root": image.root.model_copy(update={"sha256": image.kernel.sha256})})

    found = difference(made("one"), made("other", other))
    (note,) = found.notes
    assert note == "The roots differ in what is no file's content: owners, modes, links, times, or where it stands."


def test_the_options_of_kernels_that_ship(made: Made, tmp_path: Path) -> None:
    one, other = made("one", file_of("micro", tmp_path)), made("other", file_of("standard", tmp_path))
    found = {each.name: (each.before, each.after) for each in difference(one, other).sections["options"]}
    assert found["SMP"] == (None, "y") and "PRINTK" not in found


def test_options_that_are_not_known(made: Made, tmp_path: Path) -> None:
    found = difference(made("one"), made("other", file_of("micro", tmp_path)))
    assert not found.sections["options"]
    assert any(note.startswith("The kernel's options are not compared: those of ") for note in found.notes)


def test_how_they_started(made: Made) -> None:
    one, other = made("one"), made("other", lambda image: boots(image, memory_mib=64))
    before = FULL.model_copy(update={"digest": one.image.digest})
    after = FULL.model_copy(update={"digest": other.image.digest, "bytes": 4_000_000})
    found = difference(one, other, reports=[given(before).report, given(after).report])
    assert found.sections["startup"] == (Change("image_bytes", 5_000_000, 4_000_000),) and not found.notes
    found = difference(one, other, reports=[given(before).report])
    assert found.notes == (f"How they start is not compared: no report has measured {other.folder}.",)
    found = difference(one, other, reports=[given(before).report, given(after, accelerator="kvm").report])
    assert "different machines or accelerators" in found.notes[0]


def test_an_image_without_its_bill(made: Made) -> None:
    one = made("one")
    for content in (None, b"{", b'{"components": 1}', b'{"components": [{"components": [{"name": "/x"}]}]}'):
        (one.folder / "sbom.cdx.json").unlink()
        if content is not None:
            (one.folder / "sbom.cdx.json").write_bytes(content)
        with pytest.raises(InputError, match=r"sbom.cdx.json .*: build the image again"):
            difference(one, one)
        (one.folder / "sbom.cdx.json").touch()
