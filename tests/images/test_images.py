"""What every row of IMAGES has to keep, and the bundle's folder as the first of them."""

import json
import subprocess
from pathlib import Path

import pytest

from imagebuilder.arch import TARGET, Firmware
from imagebuilder.bundle import Bundle, write
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.images import IMAGES, ROWS, Artifact, direct
from imagebuilder.images.format import DiskImage, Media
from imagebuilder.recipe.model import Budget
from imagebuilder.store import Store
from tests.test_bundle import image_of


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle on disk."""
    store = Store(tmp_path / "cache")
    image = image_of(store).model_copy(update={"budget": Budget(memory_mib=20)})
    return write(image, tmp_path / "out" / "app", store)


def test_names_and_suffixes_are_their_own_and_no_file_systems() -> None:
    names, suffixes = ([*map(part, ROWS), *map(part, FILESYSTEMS.values())] for part in (_name, _suffix))
    assert len(set(names)) == len(names) and len(set(suffixes)) == len(suffixes)
    assert [name for name, row in IMAGES.items() if row.is_bundle] == ["direct"]
    assert all(suffix.startswith(".") for suffix in suffixes if suffix)


def _name(row: object) -> str:
    return str(getattr(row, "name"))  # noqa: B009 - rows of both tables have it


def _suffix(row: object) -> str:
    return str(getattr(row, "suffix"))  # noqa: B009


def test_the_bundle_is_what_it_is(bundle: Bundle) -> None:
    before = {path: path.stat().st_mtime_ns for path in bundle.folder.iterdir()}
    made = IMAGES["direct"].write(bundle, bundle.folder, epoch_s=5)
    assert {path: path.stat().st_mtime_ns for path in bundle.folder.iterdir()} == before
    assert made == Artifact(
        format="direct",
        file=bundle.folder,
        bytes=sum(path.stat().st_size for path in bundle.files()),
        sha256=made.sha256,
        architecture=TARGET.name,
        firmware=(Firmware.DIRECT,),
        minimum_disk_mib=0,
        minimum_memory_mib=20,
        digest=bundle.image.digest,
    )
    assert Artifact.load(json.loads(json.dumps(made.describe()))) == made
    assert IMAGES["direct"].media(made) == Media(bundle.kernel, disks=(DiskImage(bundle.root),))


def test_without_a_promise_its_memory_is_that_of_its_machine(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    made = write(image_of(store), tmp_path / "app", store)
    assert direct.write(made, made.folder, epoch_s=0).minimum_memory_mib == made.image.boot.memory_mib


@pytest.mark.tools
def test_its_hash_is_that_of_the_list_of_its_files(bundle: Bundle) -> None:
    (bundle.folder / "notes").write_text("of somebody else")
    script = "sha256sum cmdline image.json root.* vmlinu* | sha256sum"  # as docs/formats.md has it
    told = subprocess.run(["sh", "-c", script], cwd=bundle.folder, capture_output=True, text=True, check=True).stdout
    assert direct.write(bundle, bundle.folder, epoch_s=0).sha256 == told.split()[0]


def test_elsewhere_it_is_laid_down(bundle: Bundle, tmp_path: Path) -> None:
    made = direct.write(bundle, tmp_path / "copy", epoch_s=0)
    assert Bundle.open(tmp_path / "copy").image == bundle.image
    assert made.file == tmp_path / "copy" and made.sha256 == direct.write(bundle, bundle.folder, epoch_s=0).sha256
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o755
    for path, why in ((tmp_path / "copy", "not empty"), (tmp_path / "no" / "folder", "No such file")):
        with pytest.raises(OutputError, match=f"{path} cannot be written: .*{why}"):
            direct.write(bundle, path, epoch_s=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "copy", "out"]
