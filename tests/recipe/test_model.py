import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.load import load
from imagebuilder.recipe.local_files import candidates, expand
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.render import rendered
from imagebuilder.recipe.values import FileKind, LimitName, ReadyKind, StopSignal

from .toml import GOOD, write_recipe


def good(**changes: Any) -> dict[str, Any]:
    """The good recipe's document, changed at the top."""
    return {**tomllib.loads(GOOD), **changes}


def test_defaults() -> None:
    recipe = Recipe.model_validate(good())
    assert recipe.application.user == "nonroot"
    assert recipe.application.stop_signal is StopSignal.TERM
    assert recipe.application.stop_signal.number == 15
    assert recipe.kernel.name == "auto"
    assert (recipe.ready.kind, recipe.ready.port, recipe.ready.timeout_s) == (ReadyKind.HTTP, 80, 60)


def test_the_port_of_readiness_is_forwarded_by_itself() -> None:
    assert Recipe.model_validate(good()).machine.ports == (80,)
    assert Recipe.model_validate(good(machine={"ports": [80]})).machine.ports == (80,)
    assert Recipe.model_validate(good(machine={"ports": [22]})).machine.ports == (22, 80)
    assert Recipe.model_validate(good(machine={"ports": [22]}, ready={"exit": 0})).machine.ports == (22,)


def test_a_recipe_cannot_be_changed() -> None:
    recipe = Recipe.model_validate(good())
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"


@pytest.mark.parametrize("user", ["root", "www-data", "_apt", "1000", "1000:100", "app:1000", "4294967294"])
def test_users_that_are_accepted(user: str) -> None:
    assert Recipe.model_validate(good(application={"command": "/x", "user": user})).application.user == user


@pytest.mark.parametrize("value", [0, 4096, "4096", "1024:4096", "unlimited", "1024:unlimited", 2**64 - 2])
def test_limits_that_are_accepted(value: int | str) -> None:
    application = {"command": "/x", "limits": {"nofile": value}}
    assert Recipe.model_validate(good(application=application)).application.limits[LimitName.NOFILE] == value


@pytest.mark.parametrize("value", [-1, 2**64 - 1, "1:2:3", "", "unlimited:3", "4096:1024", True, 1.5])
def test_limits_that_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="expected a"):
        Recipe.model_validate(good(application={"command": "/x", "limits": {"nofile": value}}))


@pytest.mark.parametrize("mount", ["tmpfs /run", "tmpfs /run mode=0755,size=4m", "ext4 /data source=/dev/vda"])
def test_mounts_that_are_accepted(mount: str) -> None:
    assert Recipe.model_validate(good(root={"mounts": [mount]})).root.mounts == (mount,)


@pytest.mark.parametrize("mount", ["", "tmpfs", "tmpfs run", "tmpfs  /run", "tmpfs /run a b", "tmpfs /run\n", "a /b"])
def test_mounts_that_are_refused(mount: str) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(good(root={"mounts": [mount]}))


def test_described_as_json_without_paths_of_this_machine(tmp_path: Path) -> None:
    described = describe(load(write_recipe(tmp_path / "page")))
    machine = {"memory_mib": 32, "cpus": 1, "network": True, "egress": "none", "ports": [80], "disks": []}
    assert described["machine"] == machine
    assert described["files"][1] == {"path": "/srv/logo", "source": "logo.svg", "mode": "0644", "owner": "root"}
    assert described["ready"] == {
        "http": {"port": 80, "path": "/", "status": 200, "body": "Hello"},
        "timeout_s": 60,
    }
    assert str(tmp_path) not in str(described)
    assert described == describe(load(write_recipe(tmp_path / "elsewhere")))


def test_a_description_is_a_recipe_again() -> None:
    recipe = Recipe.model_validate(good())
    assert Recipe.model_validate(describe(recipe)) == recipe


FILES = """
[[files]]
path = "/run.sh"
source = "run.sh"
[[files]]
path = "/secret"
source = "run.sh"
mode = "0600"
[[files]]
path = "/motd"
text = "hello\\n"
[[files]]
path = "/var/lib/page"
directory = true
owner = "1000"
[[files]]
path = "/etc/mtab"
symlink = "/proc/mounts"
"""


def test_files_of_each_kind(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page", GOOD + FILES)
    (folder / "run.sh").write_bytes(b"#!\r\n")
    (folder / "run.sh").chmod(0o775)
    recipe = load(folder)
    found = [(entry.path, entry.kind, entry.mode, rendered(entry, recipe)) for entry in recipe.files]
    assert found == [
        ("/srv/page.html", FileKind.TEMPLATE, "0644", b"<h1>Hello</h1>\n"),
        ("/srv/logo", FileKind.SOURCE, "0644", b"<svg/>\n"),
        ("/run.sh", FileKind.SOURCE, "0755", b"#!\r\n"),
        ("/secret", FileKind.SOURCE, "0600", b"#!\r\n"),
        ("/motd", FileKind.TEXT, "0644", b"hello\n"),
        ("/var/lib/page", FileKind.DIRECTORY, "0755", b""),
        ("/etc/mtab", FileKind.SYMLINK, "0777", b""),
    ]


def test_files_that_a_pattern_means(tmp_path: Path) -> None:
    for name in ("a.c", "b.c", ".hidden.c", "static/x.css", "static/deep/y.css", "static/.z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "static/link").symlink_to("deep")
    (tmp_path / "static/empty").mkdir()
    below = ("static/.z", "static/deep/y.css", "static/empty", "static/link", "static/x.css")
    assert expand(tmp_path, "static/empty") == ("static/empty",)
    assert expand(tmp_path, "static/empt*") == ()  # it was meant for files
    assert expand(tmp_path, "*.c") == (".hidden.c", "a.c", "b.c")
    assert expand(tmp_path, "[ab].c") == ("a.c", "b.c")
    assert expand(tmp_path, "static") == expand(tmp_path, "static/**") == below
    assert expand(tmp_path, "static/*.css") == ("static/x.css",)
    assert expand(tmp_path, "**/*.css") == ("static/deep/y.css", "static/x.css")
    assert expand(tmp_path, "nothing/**") == ()
    assert set(candidates(tmp_path)) == {".hidden.c", "a.c", "b.c", *below}
    with pytest.raises(ValueError, match="beside the recipe"):
        expand(tmp_path, "../*")


def test_the_recipe_may_be_reached_through_a_link(tmp_path: Path) -> None:
    write_recipe(tmp_path / "page")
    (tmp_path / "link").symlink_to("page")
    assert load(tmp_path / "link").name == "page"
    assert expand(tmp_path / "link", "*.c") == ("server.c",)
