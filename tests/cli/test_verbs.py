"""The verbs, as a user types them."""

import hashlib
import json
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from uuid import uuid4

import click
import jsonschema
import pytest

from imagebuilder.cli.main import VERBS
from imagebuilder.cli.main import cli as program
from imagebuilder.machine.diagnosis import NO_EGRESS
from tests.app import RECIPE, lay_down, recipe_text
from tests.cli.conftest import Cli
from tests.junit import validated

pytestmark = pytest.mark.tools


def test_help_names_every_verb(cli: Cli) -> None:
    text = cli("--help").out
    assert all(verb in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli: Cli, verb: str) -> None:
    ran = cli(verb, "--help")
    assert ran.status == 0 and "Usage:" in ran.out, ran


def test_help_costs_little_more_than_click_itself() -> None:
    def took_s(*argv: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    pairs = [
        (took_s("-m", "imagebuilder", "--help"), took_s("-c", "import click.core, click.termui")) for _ in range(5)
    ]
    assert statistics.median(ours / least for ours, least in pairs) < 3


def test_building_twice_gives_the_same_bytes_and_does_nothing(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    first = cli("build", "app", "--json")
    assert first.status == 0, first
    image = tmp_path / "out" / "app" / "image.json"
    before = image.stat()
    again = cli("build", "app", "--json", "-v")
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (made,), (found,) = (json.loads(ran.out)["images"] for ran in (first, again))
    assert all(step["cached"] for step in found["steps"])
    assert made | {"steps": None} == found | {"steps": None}
    assert json.loads(image.read_bytes())["digest"] == made["digest"]


BOOTED = ("cmdline", "image.json", "root.cpio", "vmlinux")
BESIDE = ("provenance.json", "sbom.cdx.json", "sbom.spdx.json")


def test_what_build_tells_scripts(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    """Names of keys are a promise."""
    lay_down(tmp_path / "other", recipe / "app", RECIPE.replace('name = "app"', 'name = "other"'))
    formats = ("--format", "tar", "--format", "direct", "--format", "tar")
    ran = cli("build", "app", "other", "-o", "made", *formats, "--json")
    assert ran.status == 0, ran
    document = json.loads(ran.out)
    assert document.keys() == {"images"}
    for name, image in zip(("app", "other"), document["images"], strict=True):
        assert image.keys() == {"name", "digest", "folder", "artifacts", "steps"}
        assert (image["name"], image["folder"]) == (name, f"made/{name}")
        assert image["digest"] == json.loads((tmp_path / image["folder"] / "image.json").read_bytes())["digest"]
        tar, direct = image["artifacts"]
        content = (tmp_path / "made" / f"{name}.tar").read_bytes()
        assert tar == {
            "format": "tar",
            "path": f"made/{name}.tar",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        assert (direct["format"], direct["path"]) == ("direct", f"made/{name}")
        folder = tmp_path / "made" / name
        assert direct["bytes"] == sum((folder / each).stat().st_size for each in BOOTED)
        assert {path.name for path in folder.iterdir()} == {*BOOTED, *BESIDE}
        assert all(step.keys() == {"id", "kind", "title", "cached"} for step in image["steps"])
        assert image["steps"][-1]["kind"] == "sbom"
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["app", "app.tar", "other", "other.tar"]


def test_without_a_format_it_is_the_folder_that_was_made(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    cold = cli("build", "app", "--json", env={"IMAGEBUILDER_CACHE": str(tmp_path / "cold")})
    (image,) = json.loads(cold.out)["images"]
    assert [(each["format"], each["path"]) for each in image["artifacts"]] == [("direct", "out/app")]
    assert [step["cached"] for step in image["steps"]] == [False] * len(image["steps"])
    recipe_toml = recipe / "recipe.toml"
    recipe_toml.write_text(recipe_toml.read_text().replace('version = "1"', 'version = "2"'))
    warm = cli("build", "app", "--json", env={"IMAGEBUILDER_CACHE": str(tmp_path / "cold")})
    (image,) = json.loads(warm.out)["images"]
    assert {step["kind"] for step in image["steps"] if not step["cached"]} == {"bundle", "sbom"}


def test_a_format_that_cannot_be_written_is_refused_before_a_build(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "app.tar" / "mine").mkdir(parents=True)
    ran = cli("build", "app", "--format", "tar", "--json")
    assert ran.status == 2 and "out/app.tar is no file: it is left as it is" in ran.err and not ran.out, ran
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["app.tar"]
    assert [path.name for path in (tmp_path / "out" / "app.tar").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["tar", "erofs"])
def test_a_file_that_is_no_such_format_is_left_as_it_is(cli: Cli, recipe: Path, tmp_path: Path, name: str) -> None:
    own = tmp_path / "out" / f"app.{name}"
    own.parent.mkdir()
    own.write_text("my own notes\n")
    refused = cli("build", "app", "--format", name)
    said = f"out/app.{name} is no {name}: it is left as it is\nhint: give another --out\n"
    assert refused.status == 2 and refused.err.endswith(said), refused
    assert own.read_text() == "my own notes\n" and not (tmp_path / "out" / "app").exists()
    for _ in range(2):  # ours is written again
        assert cli("build", "app", "--format", name, "--out", "other").status == 0


def test_a_tar_that_no_build_wrote_is_left_as_it_is(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    own = tmp_path / "out" / "app.tar"
    own.parent.mkdir()
    with tarfile.open(own, "w") as archive:
        archive.add(recipe / "recipe.toml", "mine")
    before = own.read_bytes()
    refused = cli("build", "app", "--format", "tar")
    said = "out/app.tar has no image beside it, so that it is not of a build: it is left as it is\n"
    assert refused.status == 2 and said in refused.err and own.read_bytes() == before, refused


def test_two_folders_two_caches_the_same_bytes(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    for number in "12":
        ran = cli("build", "app", "--out", number, env={"IMAGEBUILDER_CACHE": str(tmp_path / f"cache{number}")})
        assert ran.status == 0, ran
        (recipe / "app").touch()  # another time on the file is no other content
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / number / "app").iterdir()} for number in "12")
    assert one == two


def test_a_plan_builds_nothing(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    own = {"IMAGEBUILDER_CACHE": str(tmp_path / "own")}  # the shared one may have this image
    ran = cli("build", "app", "--plan", "--json", env=own)
    steps = json.loads(ran.out)[0]["steps"]
    assert [step["kind"] for step in steps] == ["source", "slim", "kernel", "root", "pack", "bundle", "sbom"]
    assert {(step["cached"], *step["why"]) for step in steps} == {(False, "it was not built here yet")}
    assert cli("build", "app", "--plan", env=own).out.startswith("app: 7 steps of 7 would be made\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "lister"),
    [
        ("tar", ["tar", "-tf"]),
        ("cpio", ["cpio", "-t", "--quiet", "-F"]),
        ("erofs", ["dump.erofs", "--path=/usr/bin/app"]),
    ],
)
def test_the_root_alone_for_other_tools(cli: Cli, recipe: Path, tmp_path: Path, name: str, lister: list[str]) -> None:
    ran = cli("build", "app", "--format", name)
    assert ran.status == 0, ran
    listed = subprocess.run(
        [*lister, str(tmp_path / "out" / f"app.{name}")], capture_output=True, text=True, check=True
    )
    assert "usr/bin/app" in listed.stdout


def test_inspect(cli: Cli, recipe: Path) -> None:
    with (recipe / "recipe.toml").open("a") as stream:  # contents that nobody has packed before
        stream.write(f'[[files]]\npath = "/srv/chance"\ntext = "{uuid4()}"\n')
    assert json.loads(cli("inspect", "app", "--json").out)["bytes"] is None  # packing takes a second a megabyte
    assert "see --packed" in cli("inspect", "app").out
    ran = cli("inspect", "app", "--packed", "--json")
    assert ran.status == 0, ran
    found = json.loads(ran.out)
    assert json.loads(cli("inspect", "app", "--json").out) == found  # what is known is shown
    assert found["files"][0]["path"] == "/usr/bin/app"
    assert 0 < found["bytes"] < found["image"]["kernel"]["bytes"] + found["image"]["root"]["bytes"]
    assert "/usr/bin/app" in cli("inspect", "app").out


def test_list_and_schema(cli: Cli) -> None:
    assert {"hello", "nginx", "python", "redis"} <= {row["name"] for row in json.loads(cli("list", "--json").out)}
    for document in ("recipe", "report", "build"):
        jsonschema.Draft202012Validator.check_schema(json.loads(cli("schema", document).out))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cli: Cli, shell: str) -> None:
    assert "_IMAGEBUILDER_COMPLETE" in cli("completion", shell).out


def test_completion_knows_recipes(cli: Cli) -> None:
    words = {"_IMAGEBUILDER_COMPLETE": "bash_complete", "COMP_WORDS": "imagebuilder build ng", "COMP_CWORD": "2"}
    assert "nginx" in cli(env=words).out


def test_doctor(cli: Cli) -> None:
    ran = cli("doctor", "--json")
    found = {row["name"]: row for row in json.loads(ran.out)}
    assert found["qemu-system-x86_64"]["ok"] and ran.status == 0
    assert "kvm" in found
    lacking = cli("doctor", "--json", env={"PATH": "/nonexistent"})
    assert lacking.status == 3
    rows = {row["name"]: row for row in json.loads(lacking.out)}
    assert rows["qemu-system-x86_64"]["mend"] == "sudo apt-get install qemu-system-x86"


def test_quiet_is_quiet(cli: Cli, recipe: Path) -> None:
    ran = cli("build", "app", "-q", "--refresh")
    assert (ran.status, ran.out.count("\n"), ran.err) == (0, 1, "")  # the result is not part of what is left out


def test_no_colour_where_nobody_looks(cli: Cli, recipe: Path) -> None:
    ran = cli("inspect", "app")
    assert "\x1b" not in ran.out + ran.err


@pytest.mark.vm
def test_run_shows_the_console_and_gives_the_status(cli: Cli, recipe: Path) -> None:
    ran = cli("run", "app", "--accel", "tcg")
    assert (ran.status, ran.out.strip().splitlines()[-1]) == (0, "hello, world"), ran


@pytest.mark.vm
def test_run_says_what_to_do_about_what_the_application_says(cli: Cli, application: Path, tmp_path: Path) -> None:
    words = ("say=connect 10.1.2.3: Network is unreachable", "exit=3")
    lay_down(tmp_path / "app", application, recipe_text(*words))
    done = cli("run", "app", "--accel", "tcg")
    assert (done.status, done.err.splitlines()[-1]) == (3, f"hint: {NO_EGRESS}")


@pytest.mark.vm
def test_the_dry_run_can_be_pasted_into_a_shell(cli: Cli, recipe: Path) -> None:
    line = cli("run", "app", "--accel", "tcg", "--dry-run").out
    done = subprocess.run(
        ["sh", "-c", f"exec timeout 120 {line}"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "hello, world" in done.stdout, (line, done)


@pytest.mark.vm
def test_test_writes_its_reports(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (recipe / "recipe.toml").write_text(RECIPE + "[budget]\nimage_bytes = 100\nstartup_floors = 10000\n")
    ran = cli("test", "app", "--accel", "tcg", "--runs", "2", "--json", "r.json", "--junit", "r.xml")
    assert ran.status == 1, ran  # nothing is as small as 100 bytes
    report = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(report, json.loads(cli("schema", "report").out))
    image = report["images"][0]
    assert {row["key"]: row["holds"] for row in image["budget"]} == {"image_bytes": False, "startup_floors": True}
    assert len(image["startup"]["ready_ms"]["samples"]) == 2
    assert image["memory"]["minimum_bytes"] is None
    suite = validated((tmp_path / "r.xml").read_bytes())[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "0"), ran


@pytest.mark.vm
def test_test_tells_why_an_image_never_got_ready(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (recipe / "recipe.toml").write_text(RECIPE.replace('"^hello"', '"goodbye"'))
    ran = cli("test", "app", "--accel", "tcg", "--runs", "1")
    assert ran.status == 1 and "Traceback" not in ran.err, ran
    (folder,) = (tmp_path / "out" / "artefacts").iterdir()
    kept = {path.name for path in folder.iterdir()}
    assert {"console.log", "command.txt", "qemu-stderr.log"} <= kept


def test_new_writes_a_recipe_that_builds(cli: Cli, tmp_path: Path) -> None:
    assert cli("new", "mine").status == 0
    assert cli("new", "mine").status == 2  # it is there already
    assert cli("build", "mine").status == 0


@pytest.mark.vm
def test_more_processors_than_its_kernel_can_use_are_had_from_one_that_can(
    cli: Cli, tmp_path: Path, application: Path
) -> None:
    lay_down(tmp_path / "app", application, recipe_text("cpus", "say=hello"))
    one = cli("run", "app", "--accel", "tcg")
    two = cli("run", "app", "--accel", "tcg", "--cpus", "2")
    assert "runs on 1" in one.out and "runs on 2" in two.out, two
    assert (tmp_path / "out" / "app@micro+smp" / "image.json").is_file()
    again = cli("run", "app", "--cpus", "65", "--dry-run")
    assert again.status == 2 and "65 processors were asked for" in again.err and "uses 64 at most" in again.err


def test_a_port_of_a_machine_without_a_network_is_refused(cli: Cli, tmp_path: Path, application: Path) -> None:
    lay_down(tmp_path / "app", application, recipe_text("say=hello", more="[machine]\nnetwork = false"))
    ran = cli("run", "app", "--accel", "tcg", "--port", "8080:80", "--dry-run")
    assert ran.status == 2 and "its machine has no network" in ran.err, ran


def test_what_a_script_would_read(cli: Cli, tmp_path: Path) -> None:
    files = json.loads(cli("new", "other", "--json").out)["files"]
    assert files[0] == "recipes/other/recipe.toml" and all((tmp_path / name).is_file() for name in files)
    built = json.loads(cli("kernel", "build", "micro", "--json", "-q").out)
    assert Path(built["path"]).stat().st_size == built["bytes"] and len(built["sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["-v", "build", "app"], ["-v", "app"]),
        (["--quiet", "-v", "build"], ["--quiet", "-v"]),
        (["-v", "kernel", "build", "micro"], ["build", "-v", "micro"]),
    ],
)
def test_talk_before_a_verb_is_that_of_the_verb(words: list[str], seen: list[str]) -> None:
    assert program.parse_args(click.Context(program), words) == seen
