"""The bundle: what is written, what is refused, and that nothing is half-written."""

import json
import os
from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.bundle import BootSettings, Bundle, Image, KernelFile, RecipeView, RootFile, standing, write
from imagebuilder.errors import CacheError, InputError
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Budget, Ready
from imagebuilder.recipe.values import StopSignal
from imagebuilder.store import Store, as_read


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
        kernel=KernelFile(name="micro", file="vmlinux", bytes=6, sha256=store.put(b"kernel")),
        root=RootFile(format="erofs", file="root.erofs", bytes=len(root), sha256=store.put(root)),
        cmdline=cmdline,
        boot=BootSettings(machine=MachineType.MICROVM, acpi=False, memory_mib=32, cpus=1, ports=(80,)),
        ready=Ready(exit=0),
        budget=Budget(),
        recipe=RecipeView.model_validate({"name": "app"}),
    ).sealed()


def test_what_is_written_is_read_again(store: Store, tmp_path: Path) -> None:
    image = image_of(store)
    bundle = write(image, tmp_path / "out" / "app", store)
    assert [path.name for path in bundle.files()] == ["cmdline", "image.json", "root.erofs", "vmlinux"]
    assert bundle.root.read_bytes() == b"root"
    assert Bundle.open(bundle.folder).image == image
    assert names(tmp_path / "out") == ["app"]


def test_documents_stand_beside_it(store: Store, tmp_path: Path) -> None:
    """Those of before go; what boots is the same with and without."""
    image, digest = image_of(store), store.put(b"{}")
    for documents in ({"sbom.cdx.json": digest, "provenance.json": digest}, {"sbom.cdx.json": digest}):
        bundle = write(image, tmp_path / "app", store, documents)
        assert {path.name: path.read_bytes() for path in bundle.documents()} == dict.fromkeys(documents, b"{}")
        assert [path.name for path in bundle.files()] == ["cmdline", "image.json", "root.erofs", "vmlinux"]
        assert standing(image, bundle.folder, documents) is not None
    (bundle.folder / "sbom.cdx.json").write_text("[]")
    assert standing(image, bundle.folder, documents) is None


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


def test_what_is_no_folder_is_left_alone(store: Store, tmp_path: Path) -> None:
    """``build app --out .`` beside the program itself."""
    (tmp_path / "app").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("app", "loop"):
        with pytest.raises(InputError, match=f"{name} is no folder: it is left as it is"):
            write(image_of(store), tmp_path / name, store)
    assert (tmp_path / "app").read_text() == "mine" and names(tmp_path) == ["app", "cache", "loop"]


def test_a_link_to_an_image_stays(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere/app")
    for root in (b"first", b"second", b"third"):
        bundle = write(image_of(store, root=root), tmp_path / "link", store)
        assert bundle.root.read_bytes() == root and bundle.folder == tmp_path / "link"
    assert (tmp_path / "link").is_symlink() and names(tmp_path) == ["cache", "elsewhere", "link"]
    assert names(tmp_path / "elsewhere") == ["app"]


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_what_a_user_put_beside_an_image_stays(store: Store, tmp_path: Path, damaged: bool) -> None:
    folder = write(image_of(store), tmp_path / "app", store).folder
    (folder / "notes").mkdir()
    (folder / "notes" / "today").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    (folder / "notes.txt").write_text("mine")
    if damaged:
        (folder / "image.json").write_text("{")
    write(image_of(store, root=b"other"), folder, store)
    assert names(folder) == ["cmdline", "image.json", "link", "notes", "notes.txt", "root.erofs", "vmlinux"]
    assert (folder / "notes.txt").read_text() == (folder / "notes" / "today").read_text() == "mine"
    assert str((folder / "link").readlink()) == "nowhere" and names(tmp_path) == ["app", "cache"]


def test_who_is_killed_between_two_renames_loses_nothing(store: Store, tmp_path: Path) -> None:
    folder = write(image_of(store), tmp_path / "app", store).folder
    (folder / "notes.txt").write_text("mine")
    folder.rename(tmp_path / ".app.old")
    write(image_of(store, root=b"other"), folder, store)
    assert (folder / "notes.txt").read_text() == "mine" and Bundle.open(folder).root.read_bytes() == b"other"


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


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("ready", "http", 80),
        ("ready", "surprise", 1),
        ("budget", "image_bytes", "small"),
        ("recipe", "template", ["/"]),
        ("recipe", "bench", {"within_percent": []}),
        ("boot", "cmdline_tcg", "a\0b"),
        ("boot", "memory_mib", -1),
        ("boot", "disks", [{"size_mib": 2**60}]),
        ("kernel", "file", "../vmlinux"),
        ("kernel", "file", "/etc/passwd"),
        ("kernel", "file", ".."),
        ("root", "file", "a/b"),
        ("root", "file", "a\nb"),
        ("root", "bytes", -1),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(
    store: Store, tmp_path: Path, table: str, key: str, value: object
) -> None:
    bundle = write(image_of(store), tmp_path / "app", store)
    path = bundle.folder / "image.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {table: document[table] | {key: value}}))
    with pytest.raises(InputError, match=rf"image.json is not what imagebuilder.image/1 says: {table}") as error:
        Bundle.open(bundle.folder, check=False)
    assert key in error.value.message and error.value.message.isprintable()


@pytest.mark.parametrize("name", ["hello", "nginx", "python", "redis"])
def test_what_a_recipe_says_is_typed_and_stays_as_it_is_written(store: Store, name: str) -> None:
    """A record of the store has its keys in order, and so have had these tables since the first image."""
    recipe = load(name)
    given = {"ready": recipe.ready, "budget": recipe.budget}
    said = {key: part.model_dump(mode="json", exclude_none=True) for key, part in given.items()}
    said = as_read({**said, "recipe": describe(recipe)})
    image = Image.model_validate({**image_of(store).model_dump(by_alias=True), **said})
    assert (image.ready, image.budget, image.recipe.application) == (recipe.ready, recipe.budget, recipe.application)
    assert (image.recipe.template, image.recipe.bench) == (recipe.template, recipe.bench)
    assert image.recipe == RecipeView.of(recipe) and image.recipe.stop_signal is recipe.application.stop_signal
    written = json.loads(image.to_json())
    for key, table in said.items():
        assert json.dumps(written[key]) == json.dumps(table), key
    assert Image.model_validate(written).to_json() == image.to_json()


def test_an_image_of_another_version_keeps_what_its_recipe_said(store: Store, tmp_path: Path) -> None:
    """Of what is not read today nothing is lost, and what is new since then is not claimed to have been written."""
    bundle = write(image_of(store), tmp_path / "app", store)
    path = bundle.folder / "image.json"
    recipe = {"name": "app", "source": [{"type": "of another version"}], "template": {"warm": ["/"]}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "recipe": recipe}))
    image = Bundle.open(bundle.folder).image
    assert image.recipe.template.warm == ("/",) and image.recipe.stop_signal is StopSignal.TERM
    assert json.loads(image.to_json())["recipe"] == recipe


def test_a_pipe_in_the_place_of_its_description_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image.json")
    with pytest.raises(InputError, match="holds no image"):
        Bundle.open(tmp_path)


def test_no_bundle_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        Bundle.open(tmp_path)
