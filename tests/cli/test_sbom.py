"""The documents beside an image that was really built, against what another tool finds in it."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from imagebuilder.bundle import BESIDE
from imagebuilder.sbom import DOCUMENTS
from tests.app import lay_down, recipe_text
from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools


def test_each_document_is_one_that_a_bundle_knows() -> None:
    assert tuple(DOCUMENTS) == BESIDE


def test_every_file_of_the_image_is_in_both_with_its_hash(cli: Cli, application: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "app", application, recipe_text("say=hello", ready='console = "hello"'))
    assert cli("build", "app").status == 0
    root, folder = tmp_path / "root", tmp_path / "out/app"
    root.mkdir()
    with (folder / "root.cpio").open("rb") as archive:
        subprocess.run(["cpio", "-id", "--quiet", "--no-absolute-filenames"], cwd=root, stdin=archive, check=True)
    contents = {
        f"/{path.relative_to(root)}": path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    found = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    cyclonedx = json.loads((folder / "sbom.cdx.json").read_bytes())
    files = [each for component in cyclonedx["components"] for each in component.get("components", ())]
    assert {each["name"]: each["hashes"][0]["content"] for each in files} == found
    spdx = json.loads((folder / "sbom.spdx.json").read_bytes())
    sums = {
        each["fileName"].removeprefix("."): {one["algorithm"]: one["checksumValue"] for one in each["checksums"]}
        for each in spdx["files"]
    }
    sha1 = {path: hashlib.sha1(content, usedforsecurity=False).hexdigest() for path, content in contents.items()}
    assert sums == {path: {"SHA1": sha1[path], "SHA256": found[path]} for path in found}
    subjects = json.loads((folder / "provenance.json").read_bytes())["subject"]
    for each in subjects:
        assert each["digest"]["sha256"] == hashlib.sha256((folder / each["name"]).read_bytes()).hexdigest()


def test_two_caches_the_same_documents(cli: Cli, application: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "app", application, recipe_text("say=hello", ready='console = "hello"'))
    made = []
    for number in "12":
        assert cli("build", "app", "-o", number, env={"IMAGEBUILDER_CACHE": str(tmp_path / f"c{number}")}).status == 0
        made.append([(tmp_path / number / "app" / name).read_bytes() for name in BESIDE])
    assert made[0] == made[1]
