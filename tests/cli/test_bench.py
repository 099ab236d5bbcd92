"""``imagebuilder bench`` as a user has it: what it refuses, and one short run with all that it says."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give a NAME, or --machine"),
        (("--machine", "none.toml"), "cannot be read"),
        (("nothing-of-this-name",), "there is no recipe of this name"),
        (("app", "--vs", "none.json"), "cannot be read"),
        (("app", "--vs", "old.json"), "schema"),
        (("app", "--vs", "broken.json"), "no JSON"),
        (("app", "--vs", "elsewhere.json"), "cannot be compared: its accelerator is kvm"),
        (("app", "--json", "gone/report.json"), "is not there"),
        (("app", "--json", "old.json/report.json"), "old.json is no folder"),
        (("app", "--runs", "0"), "--runs"),
        (("app", "--fail-slower"), "--fail-slower has no effect without --vs"),
        (("app", "--fail-undecided"), "--fail-undecided has no effect without --vs"),
        (("app", "--within", "5"), "--within has no effect without --vs"),
        (("app", "--max-runs", "20"), "--max-runs has no effect without --vs"),
        (("app", "--no-fork-server"), "--no-fork-server has no effect without --template or --density"),
        (("app", "--firmware", "uefi"), "--firmware has no effect without --format"),
        (("app", "--format", "disk", "--template"), "--template does not go with --format, since clones are made of"),
        (("app", "--format", "disk", "--density", "2"), "--format does not go with --density"),
        (("app", "--format", "gcp"), "the format gcp is for an import: QEMU does not start it"),
        (("app", "--format", "tar"), "no machine starts the format 'tar': write one of disk, qcow2, vmdk, vhd"),
        (("app", "--density", "2", "--runs", "3"), "--runs does not go with --density"),
        (("app", "--density", "2", "--bare"), "--bare does not go with --density"),
        (("app", "--density", "2", "--artefacts", "x"), "--artefacts does not go with --density"),
        (("app", "--density", "2", "--template"), "--template does not go with --density"),
        (("app", "--density", "2", "--vs", "app", "--fail-slower"), "--vs does not go with --density"),
        (("app", "--vs", "app", "--runs", "20", "--max-runs", "10"), "--max-runs 10 is less than --runs 20"),
        (("app", "--vs", "app", "--within", "0"), "--within"),
        (("app", "--vs", "others"), "others holds no image of app"),
        (("app", "--vs", "others", "--out", "others"), "others is where this run puts its own images"),
        (("app", "--vs", "others/else", "--out", "others"), "others/else is where this run puts its own images"),
    ],
)
def test_refused(cli: Cli, recipe: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "old.json").write_text('{"schema": "imagebuilder.report/0"}')
    (tmp_path / "broken.json").write_text("{")
    host = {"accelerator": "kvm", "qemu": "1", "cpu": "x", "cores": 1, "kernel": "y", "imagebuilder": "0"}
    elsewhere = {"schema": "imagebuilder.report/1", "host": host, "images": []}
    (tmp_path / "elsewhere.json").write_text(json.dumps(elsewhere))
    (tmp_path / "others" / "else").mkdir(parents=True)
    (tmp_path / "others" / "else" / "image.json").write_text("{}")
    ran = cli("bench", "--accel", "tcg", *words)
    assert ran.status == 2, ran
    assert says in " ".join(ran.err.split()) and "Traceback" not in ran.err, ran


@pytest.mark.vm
def test_an_image_beside_itself_and_beside_its_report(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli("bench", "app", "--accel", "tcg", "--runs", "3", "--max-runs", "3", "--vs", "app",
              "--fail-undecided", "--json", "1.json")  # fmt: skip
    assert ran.status == 4, ran  # three rounds decide nothing
    document = json.loads((tmp_path / "1.json").read_text())
    first, again = document["images"]
    assert (first["name"], again["name"]) == ("app", "app again")
    assert first["comparison"]["verdict"] == "undecided" and first["comparison"]["paired"]
    assert again["comparison"] is None
    assert len(first["startup"]["ready_ms"]["ci95"]) == 2
    assert first["startup"]["cpu_ms"]["median"] > 0
    assert re.search(r"app +│", ran.out) and "undecided" in ran.out
    assert "×" in ran.out and "floor" in ran.out  # in one line of the column's head, or in two
    ran = cli("bench", "app", "--accel", "tcg", "--runs", "1", "--vs", "1.json", "--json", "2.json")
    assert ran.status == 0, ran
    comparison = json.loads((tmp_path / "2.json").read_text())["images"][0]["comparison"]
    assert not comparison["paired"]
    assert {"ready", "floors", "floor", "cpu"} <= {change["what"] for change in comparison["changes"]}


@pytest.mark.vm
def test_what_was_measured_is_shown_where_the_report_cannot_be_written(cli: Cli, recipe: Path) -> None:
    ran = cli("bench", "app", "--accel", "tcg", "--runs", "1", "--json", "/dev/full")
    assert ran.status == 2 and "/dev/full cannot be written: No space left on device" in ran.err, ran
    assert re.search(r"app +│", ran.out), ran


@pytest.mark.vm
def test_an_image_beside_one_that_was_built_before(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    """A folder of images, one of a kind that is not there, and a recipe of the same name in another checkout."""
    assert cli("build", "app", "--out", "main/out").status == 0
    shutil.copytree(recipe, tmp_path / "main" / "app")
    shutil.copytree(recipe, tmp_path / "new")
    text = (recipe / "recipe.toml").read_text()
    (tmp_path / "new" / "recipe.toml").write_text(re.sub(r'^name = ".*"', 'name = "new"', text, flags=re.M))
    for words in (("app", "new", "--vs", "main/out"), ("app", "--vs", "main/out/app"), ("app", "--vs", "main/app")):
        ran = cli("bench", *words, "--accel", "tcg", "--runs", "1", "--json", "r.json")
        assert ran.status == 0, ran
        images = {image["name"]: image for image in json.loads((tmp_path / "r.json").read_text())["images"]}
        found = images["app"]["comparison"]
        assert (found["reference"], found["paired"]) == ("app before", True)
        assert images["app before"]["comparison"] is None
        if "new" in words:
            assert images["new"]["comparison"] is None
            assert "main/out has no new: it is started, and not compared" in ran.err


@pytest.mark.vm
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_shows_the_rounds_that_ended(
    recipe: Path, tmp_path: Path, cache: Path, number: signal.Signals, status: int
) -> None:
    argv = [sys.executable, "-m", "imagebuilder", "bench", "app", "--accel", "tcg", "--runs", "500", "--json", "r.json"]
    env = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    with subprocess.Popen(
        argv, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stderr is not None
        for line in one.stderr:
            if "500 times in turn" in line and " of 500" in line:  # it is told again after some seconds
                break
        time.sleep(1)
        one.send_signal(number)
        out, err = one.communicate(timeout=60)
    assert one.returncode == status, err
    done = int(re.search(r"interrupted after (\d+) of 500 rounds; r\.json was not written", err)[1])  # type: ignore[index]
    assert done > 0 and f"{done} round" in out and re.search(r"app +│", out)
    assert "Traceback" not in err and not (tmp_path / "r.json").exists()


@pytest.mark.vm
def test_the_bare_command_line_is_told_and_works(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli(
        "bench", "app", "--accel", "tcg", "--runs", "2", "--bare", "--initcalls", "--commands", "--json", "r.json"
    )
    assert ran.status == 0, ran
    document = json.loads((tmp_path / "r.json").read_text())
    (image,) = document["images"]
    startup, command = image["startup"], image["command"]
    assert len(startup["bare_ms"]["samples"]) == 2 and startup["measuring"]["what"] == "measuring"
    assert startup["measuring"]["verdict"] == "undecided"  # two rounds decide nothing
    assert startup["initcalls_ms"] and "initcall" in ran.out
    assert document["made"].endswith("Z")
    assert command in ran.out.replace("\n", " ") and "times as long as by its bare command line" in ran.out
    assert "-qmp" not in command and "-mon" not in command and "virtserialport" not in command
    words = shlex.split(command)
    by_hand = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=True)
    assert b"hello, world" in by_hand.stdout
