"""A format that is added is one file and one row: the command line, completion, the steps' keys, the machine and the
docs' table follow."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imagebuilder.arch import Firmware
from imagebuilder.bundle import Bundle
from imagebuilder.images import Artifact, Medium
from imagebuilder.machine.spec import Accelerator, Disk, spec_of
from imagebuilder.paths import PACKAGE
from tests.app import RECIPE, lay_down
from tests.docs.blocks import ROOT
from tests.images import toy

pytestmark = pytest.mark.tools

Env = Mapping[str, str]
NONE: Env = {}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one more file, and one more row."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(PACKAGE, folder / "imagebuilder", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("recipes", "kernels", "tests", "docs"):
        (folder / name).symlink_to(ROOT / name)
    room = folder / "imagebuilder" / "images"
    shutil.copyfile(toy.__file__, room / "toy.py")
    table = (room / "__init__.py").read_text()
    for old, new in (
        ("import direct, disk, gcp, qcow2, vhd, vmdk\n", "import direct, disk, gcp, qcow2, toy, vhd, vmdk\n"),
        ("\n)\nIMAGES", "\n    toy.ROW,\n)\nIMAGES"),
    ):
        assert table.count(old) == 1
        table = table.replace(old, new)
    (room / "__init__.py").write_text(table)
    return folder


@pytest.fixture
def folder(tmp_path: Path, application: Path) -> Path:
    """A folder with a recipe."""
    lay_down(tmp_path / "app", application, RECIPE)
    return tmp_path


@dataclass(frozen=True)
class Toys:
    """``imagebuilder`` of that checkout, in a folder, with a cache."""

    house: Path
    folder: Path
    cache: Path

    def ran(self, *words: str, status: int = 0, env: Env = NONE) -> str:
        """What it says."""
        given = {**os.environ, "IMAGEBUILDER_CACHE": str(self.cache), "PYTHONPATH": str(self.house), **env}
        argv = [sys.executable, "-m", "imagebuilder", *words]
        done = subprocess.run(argv, cwd=self.folder, env=given, capture_output=True, text=True, timeout=240)
        assert done.returncode == status, done
        return done.stdout if status == 0 else done.stderr

    def built(self, *words: str, env: Env = NONE) -> dict[str, Any]:
        """What ``build --json`` tells of the one image."""
        (image,) = json.loads(self.ran("build", "app", "--json", *words, env=env))["images"]
        found: dict[str, Any] = image
        return found


@pytest.fixture
def toys(house: Path, folder: Path, cache: Path) -> Toys:
    """With the cache that tests share."""
    return Toys(house, folder, cache)


def cached(image: dict[str, Any]) -> dict[str, bool]:
    """Whether the last step of each kind was taken from the cache."""
    return {step["kind"]: step["cached"] for step in image["steps"]}


def test_it_is_written_beside_the_bundle(toys: Toys) -> None:
    image = toys.built("--format", "toy", "--format", "tar")
    path = toys.folder / "out" / "app.toy"
    bundle = Bundle.open(toys.folder / image["folder"])
    content = path.read_bytes()
    assert content[512:] == bundle.kernel.read_bytes() + bundle.root.read_bytes()
    assert content.startswith(f"toy app {bundle.image.digest} ".encode())
    sha256 = hashlib.sha256(content).hexdigest()
    first = {"format": "toy", "path": "out/app.toy", "bytes": len(content), "sha256": sha256}
    assert image["artifacts"][0] == first and [each["format"] for each in image["artifacts"]] == ["toy", "tar"]
    assert sorted(each.name for each in (toys.folder / "out").iterdir()) == ["app", "app.tar", "app.toy"]


def test_its_step_is_one_of_the_plan_and_has_a_key(toys: Toys, tmp_path: Path) -> None:
    toys = replace(toys, cache=tmp_path / "cache")
    plain = toys.built()
    assert "image" not in cached(plain)
    first = toys.built("--format", "toy")
    assert cached(first)["image"] is False and cached(first)["bundle"] is True
    before = (toys.folder / "out/app.toy").stat()
    again = toys.built("--format", "toy")
    assert all(cached(again).values()) and again["artifacts"] == first["artifacts"]
    assert (toys.folder / "out/app.toy").stat().st_mtime_ns == before.st_mtime_ns, "it is left as it stands"
    (toys.folder / "out/app.toy").write_bytes(b"damaged")
    assert toys.built("--format", "toy")["artifacts"] == first["artifacts"]
    assert (toys.folder / "out/app.toy").stat().st_size == first["artifacts"][0]["bytes"]
    later = toys.built("--format", "toy", env={"SOURCE_DATE_EPOCH": "86400"})
    assert later["steps"][-1]["id"] != first["steps"][-1]["id"]
    assert (toys.folder / "out/app.toy").read_bytes()[:512].rstrip(b"\0").endswith(b" 86400")


def test_another_line_of_its_code_makes_it_anew_and_nothing_else(toys: Toys) -> None:
    toys.built("--format", "toy")
    assert "nothing would be made" in toys.ran("build", "app", "--format", "toy", "--plan")
    file = toys.house / "imagebuilder/images/toy.py"
    text = file.read_text()
    file.write_text(text.replace('f"toy {', 'f"TOY {'))
    try:
        said = toys.ran("build", "app", "--format", "toy", "--plan")
    finally:
        file.write_text(text)
    assert said == "app: 1 step of 8 would be made\n  app as toy: other code: imagebuilder.images.toy\n"


def test_two_caches_give_the_same_bytes(toys: Toys, tmp_path: Path) -> None:
    found = [
        replace(toys, cache=tmp_path / name).built("--format", "toy", "--out", f"out-{name}")["artifacts"][0]["sha256"]
        for name in ("one", "two")
    ]
    assert found[0] == found[1]


def test_help_errors_and_completion_have_it(toys: Toys) -> None:
    assert "toy" in toys.ran("build", "--help")
    assert "toy" not in replace(toys, house=ROOT).ran("build", "--help")
    assert "gcp, toy, cpio" in toys.ran("build", "app", "--format", "floppy", status=2)
    words = {"COMP_WORDS": "imagebuilder build --format t", "COMP_CWORD": "3"}
    offered = toys.ran(env={"_IMAGEBUILDER_COMPLETE": "bash_complete"} | words)
    assert {line.split(",")[-1] for line in offered.split()} == {"toy", "tar"}


def test_the_schema_has_it(toys: Toys) -> None:
    schema = json.loads(toys.ran("schema", "build"))
    document = json.loads(toys.ran("build", "app", "--json", "--format", "toy"))
    jsonschema.Draft202012Validator(schema).validate(document)
    document["images"][0]["artifacts"][0]["format"] = "iso"
    with pytest.raises(jsonschema.ValidationError, match=r"'iso' is not one of .*'toy'"):
        jsonschema.Draft202012Validator(schema).validate(document)


def test_the_docs_table_has_it(toys: Toys) -> None:
    code = "from tests.docs import formats; print(formats.page())"
    env = {**os.environ, "PYTHONPATH": str(toys.house)}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=toys.folder, env=env, capture_output=True, text=True, check=True)
    assert "| `toy` | `NAME.toy` | a disk to play with | – |" in done.stdout


def test_what_it_is_and_the_machine_that_boots_it(toys: Toys) -> None:
    image = toys.built()
    bundle = Bundle.open(toys.folder / image["folder"])
    artifact = toy.write(bundle, toys.folder / "app.toy", epoch_s=0)
    assert (artifact.format, artifact.firmware, artifact.minimum_disk_mib) == ("toy", (Firmware.BIOS,), 16)
    assert artifact.digest == image["digest"] and artifact.minimum_memory_mib == bundle.image.boot.memory_mib
    assert Artifact.load(json.loads(json.dumps(artifact.describe()))) == artifact
    usual = spec_of(bundle, accelerator=Accelerator.TCG)
    spec = spec_of(bundle, accelerator=Accelerator.TCG, medium=Medium("toy", toy.media(artifact), Firmware.BIOS))
    assert (spec.kernel, spec.initrd, spec.cmdline) == (None, None, "")
    assert spec.disks[0] == Disk(path=toys.folder / "app.toy", boots=True)
    assert (spec.memory_mib, spec.forwards, spec.image) == (usual.memory_mib, usual.forwards, usual.image)
