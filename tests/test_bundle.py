"""The bundle: what is written, what is refused, and that nothing is half-written."""

import json
from pathlib import Path

import pytest

from imagebuilder.bundle import Boot, Bundle, Image, KernelPart, RootPart, write
from imagebuilder.errors import CacheError, InputError
from imagebuilder.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def names(folder: Path) -> list[str]:
    """What stands in a folder."""
    return sorted(path.name for path in folder.iterdir())


def image_of(store: Store, *, root: bytes = b"root", cmdline: str = "quiet") -> Image:
    """An image whose parts are in the store."""
    return Image(
        schema="imagebuilder.image/1",
        name="app",
        version="1",
        kernel=KernelPart(name="micro", file="vmlinux", bytes=6, sha256=store.put(b"kernel")),
        root=RootPart(format="erofs", file="root.erofs", bytes=len(root), sha256=store.put(root)),
        cmdline=cmdline,
        boot=Boot(machine="microvm", acpi=False, memory_mib=32, cpus=1, ports=(80,)),
        ready={"exit": 0},
        budget={},
        recipe={"name": "app"},
    ).sealed()


def test_what_is_written_is_read_again(store: Store, tmp_path: Path) -> None:
    image = image_of(store)
    bundle = write(image, tmp_path / "out" / "app", store)
    assert [path.name for path in bundle.files()] == ["cmdline", "image.json", "root.erofs", "vmlinux"]
    assert bundle.root.read_bytes() == b"root"
    assert Bundle.open(bundle.folder).image == image
    assert names(tmp_path / "out") == ["app"]


def test_it_takes_the_place_of_the_one_before(store: Store, tmp_path: Path) -> None:
    write(image_of(store), tmp_path / "app", store)
    (tmp_path / ".app.building").mkdir()  # as a killed build leaves it
    write(image_of(store, root=b"other"), tmp_path / "app", store)
    assert Bundle.open(tmp_path / "app").root.read_bytes() == b"other"
    assert names(tmp_path) == ["app", "cache"]


def test_a_folder_with_files_of_somebody_else_is_left_alone(store: Store, tmp_path: Path) -> None:
    """``build app --out .`` beside the recipe's folder: the image would take the recipe's place."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/recipe.toml").write_text("mine")
    with pytest.raises(InputError, match="app holds files that are no image"):
        write(image_of(store), tmp_path / "app", store)
    assert (tmp_path / "app/recipe.toml").read_text() == "mine" and names(tmp_path) == ["app", "cache"]


def test_the_digest_covers_what_boots(store: Store) -> None:
    one = image_of(store)
    assert one.digest == image_of(store).digest
    assert one.digest != image_of(store, root=b"other").digest
    assert one.digest != image_of(store, cmdline="loud").digest
    assert one.digest == one.model_copy(update={"summary": "new"}).sealed().digest


def test_a_missing_part_leaves_the_old_image(store: Store, tmp_path: Path) -> None:
    old = write(image_of(store), tmp_path / "app", store)
    new = image_of(store, root=b"new")
    store.blob(new.root.sha256).unlink()
    with pytest.raises(CacheError):
        write(new, tmp_path / "app", store)
    assert Bundle.open(old.folder).root.read_bytes() == b"root"
    assert names(tmp_path) == ["app", "cache"]


def test_a_changed_file_is_refused(store: Store, tmp_path: Path) -> None:
    bundle = write(image_of(store), tmp_path / "app", store)
    bundle.root.write_bytes(b"r00t")
    with pytest.raises(InputError, match=r"root\.erofs is not the file"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda document: document | {"schema": "imagebuilder.image/9"}, "schema"),
        (lambda document: document | {"surprise": 1}, "surprise"),
        (lambda document: {key: document[key] for key in document if key != "boot"}, "boot"),
        (lambda _document: [], "the document"),
    ],
    ids=["schema", "unknown key", "missing key", "no object"],
)
def test_another_document_is_refused(store: Store, tmp_path: Path, damage, sentence: str) -> None:  # type: ignore[no-untyped-def]
    bundle = write(image_of(store), tmp_path / "app", store)
    path = bundle.folder / "image.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=sentence):
        Bundle.open(bundle.folder)


def test_no_bundle_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        Bundle.open(tmp_path)
