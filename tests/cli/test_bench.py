"""``imagebuilder bench`` as a user has it: what it refuses, and one short run with all that it says."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give at least one NAME"),
        (("--machine", "none.toml"), "cannot be read"),
        (("nothing-of-this-name",), "there is no recipe of this name"),
        (("app", "--vs", "none.json"), "cannot be read"),
        (("app", "--vs", "old.json"), "schema"),
        (("app", "--vs", "broken.json"), "no JSON"),
        (("app", "--vs", "elsewhere.json"), "cannot be compared: its accelerator is kvm"),
        (("app", "--json", "gone/report.json"), "is not there"),
        (("app", "--runs", "0"), "--runs"),
    ],
)
def test_refused(cli: Cli, recipe: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "old.json").write_text('{"schema": "imagebuilder.report/0"}')
    (tmp_path / "broken.json").write_text("{")
    host = {"accelerator": "kvm", "qemu": "1", "cpu": "x", "cores": 1, "kernel": "y", "imagebuilder": "0"}
    elsewhere = {"schema": "imagebuilder.report/1", "host": host, "images": []}
    (tmp_path / "elsewhere.json").write_text(json.dumps(elsewhere))
    ran = cli("bench", "--accel", "tcg", *words)
    assert ran.status == 2, ran
    assert says in " ".join(ran.err.split()) and "Traceback" not in ran.err, ran


@pytest.mark.vm
def test_an_image_beside_itself_and_beside_its_report(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli("bench", "app", "--accel", "tcg", "--runs", "3", "--vs", "app", "--fail-undecided", "--json", "1.json")
    assert ran.status == 4, ran  # three rounds decide nothing
    document = json.loads((tmp_path / "1.json").read_text())
    first, again = document["images"]
    assert (first["name"], again["name"]) == ("app", "app again")
    assert first["comparison"]["verdict"] == "undecided" and first["comparison"]["paired"]
    assert again["comparison"] is None
    assert len(first["startup"]["ready_ms"]["ci95"]) == 2
    assert first["startup"]["cpu_ms"]["median"] > 0
    assert re.search(r"app +│", ran.out) and "undecided" in ran.out and "× floor" in ran.out
    ran = cli("bench", "app", "--accel", "tcg", "--runs", "1", "--vs", "1.json", "--json", "2.json")
    assert ran.status == 0, ran
    comparison = json.loads((tmp_path / "2.json").read_text())["images"][0]["comparison"]
    assert not comparison["paired"]
    assert {"ready", "floors", "floor", "cpu"} <= {change["what"] for change in comparison["changes"]}


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
