"""Bad input: one sentence, exit status 2 (3: this machine lacks something), no traceback, nothing left behind."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.app import RECIPE
from tests.cli.conftest import Cli, Ran
from tests.docs.commands import rows

pytestmark = pytest.mark.tools

FILES = 'type = "files"\nfiles = ["app"]\ntarget = "/usr/bin"'


def refused(ran: Ran, *words: str, folder: Path) -> None:
    """The run was refused with a sentence that has these words, and left nothing."""
    assert ran.status == 2, ran
    assert "Traceback" not in ran.err, ran.err
    for word in words:
        assert word in ran.err, ran.err
    out = folder / "out"
    assert not out.exists() or not list(out.iterdir()), list(out.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "app"', 'name = "app', ("recipe.toml:1", "not TOML")),
        ("summary", "sumary", ("recipe.toml:3", "sumary", "did you mean 'summary'")),
        ('version = "1"', "version = 1", ("recipe.toml:2", "version")),
        ('files = ["app"]', 'files = ["nothing"]', ("recipe.toml:7", "nothing")),
        ("/usr/bin/app", "/usr/bin/ap", ("/usr/bin/ap", "/usr/bin/app")),
        ("[ready]", '[kernel]\nname = "macro"\n[ready]', ("macro", "micro")),
        ("[ready]", '[kernel]\nname = "micro"\n[root]\nformat = "squashfs"\n[ready]', ("squashfs", "fragments")),
        ("[ready]", '[budget]\nimage_bytes = "small"\n[ready]', ("recipe.toml", "image_bytes")),
        ("[ready]", '[[files]]\npath = "/x"\nsource = "gone"\n[ready]', ("recipe.toml", "gone")),
        ("[ready]", '[[files]]\npath = "/x"\ntemplate = "x.j2"\n[ready]', ("x.j2:2", "nmae", "did you mean 'name'")),
    ],
    ids=[
        "broken TOML",
        "unknown key",
        "type",
        "missing input",
        "command",
        "kernel",
        "squashfs",
        "budget",
        "missing file",
        "template",
    ],
)
def test_recipes(cli: Cli, recipe: Path, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    (recipe / "x.j2").write_text("first\n{{ nmae }}\n")
    changed = RECIPE.replace(old, new, 1) + ('\n[variables]\nname = "x"\n' if "x.j2" in new else "")
    (recipe / "recipe.toml").write_text(changed)
    refused(cli("build", "app"), *words, folder=tmp_path)


def test_a_recipe_that_is_not_there(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    refused(cli("build", "ngnix"), "ngnix", "nginx", folder=tmp_path)


def test_a_missing_library(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    source = recipe / "hello.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", str(recipe / "app"), str(source)], check=True)
    refused(cli("build", "app"), "/usr/bin/app", "needs", folder=tmp_path)


def test_a_compiler_error(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (recipe / "hello.c").write_text("int main(void) { return x; }\n")
    build = 'type = "build"\ninputs = ["hello.c"]\ncommand = ["gcc", "hello.c", "-o", "app"]\n'
    text = RECIPE.replace(FILES, build + 'outputs = { app = "/usr/bin/app" }')
    (recipe / "recipe.toml").write_text(text)
    refused(cli("build", "app"), "gcc", "undeclared", folder=tmp_path)


@pytest.mark.network
def test_a_package_that_does_not_exist(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    text = RECIPE.replace(FILES, 'type = "debian"\nrelease = "bookworm"\npackages = ["ngnix"]')
    (recipe / "recipe.toml").write_text(text)
    refused(cli("build", "app"), "ngnix", "nginx", folder=tmp_path)


def test_a_damaged_cache_is_mended_and_said(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    own = {"IMAGEBUILDER_CACHE": str(tmp_path / "cache")}
    assert cli("build", "app", env=own).status == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "out" / "app").iterdir()}
    shutil.rmtree(tmp_path / "out")
    for blob in (tmp_path / "cache" / "blobs").rglob("*"):
        if blob.is_file():
            blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    again = cli("build", "app", env=own)
    assert (again.status, "damaged" in again.err, "Traceback" in again.err) == (0, True, False), again
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "app").iterdir()} == first


def test_qemu_that_is_not_installed(cli: Cli, recipe: Path) -> None:
    ran = cli("test", "app", "--accel", "tcg", env={"PATH": "/nonexistent"})
    assert (ran.status, "Traceback" in ran.err) == (3, False), ran
    assert "qemu-system-x86_64" in ran.err and "apt-get install qemu-system-x86" in ran.err


@pytest.mark.vm
def test_a_port_that_is_taken(cli: Cli, recipe: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = cli("run", "app", "--accel", "tcg", "--port", f"{port}:80")
    assert (ran.status, "Traceback" in ran.err) == (2, False), ran
    assert str(port) in ran.err


@pytest.mark.parametrize("full", ["cache", "out"])
def test_a_full_disk(recipe: Path, tmp_path: Path, cache: Path, full: str) -> None:
    """On a real file system of 64 kB, mounted where only this test sees it."""
    (tmp_path / full).mkdir()
    script = f'mount -t tmpfs -o mode=700,size=64k tmpfs "{tmp_path / full}" && exec "$@"; exit 77'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "imagebuilder"]
    env = {**os.environ, "IMAGEBUILDER_CACHE": str(tmp_path / "cache" if full == "cache" else cache)}
    done = subprocess.run([*argv, "build", "app"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    if done.returncode in (1, 77) and "unshare" in done.stderr + "mount":
        pytest.skip("no file system can be mounted here")
    refused(Ran(done.returncode, done.stdout, done.stderr), "No space left", folder=tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bild",), "did you mean 'build'"),
        (("build",), "NAME"),
        (("build", "app", "--format", "iso"), "direct"),
        (("run", "app", "--port", "80"), "HOST:GUEST"),
        (("run", "app", "--accel", "xen"), "tcg"),
        (("test", "app", "--json", "nowhere/report.json"), "nowhere"),
        (("kernel", "show", "macro"), "micro"),
        (("new", "Not A Name"), "Not A Name"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_words(cli: Cli, recipe: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    refused(cli(*words), sentence, folder=tmp_path)


OF_FILES = [
    (row.name, option)
    for row in rows()
    for option in row.options
    if isinstance(option.type, click.Path) or option.metavar in ("REF", "KERNEL")
]


@pytest.mark.parametrize(("verb", "option"), OF_FILES, ids=lambda each: getattr(each, "name", each))
def test_an_empty_path_or_name_is_refused(verb: str, option: click.Option) -> None:
    """As of a variable that is not set: it would be the current folder."""
    command = next(row.command for row in rows() if row.name == verb)
    ran = CliRunner().invoke(command, [f"{option.opts[-1]}="])
    assert ran.exit_code == 2 and "it is empty" in ran.output, ran.output


def test_an_empty_argument_is_refused() -> None:
    for name in ("build", "inspect", "report", "template rm"):
        ran = CliRunner().invoke(next(row.command for row in rows() if row.name == name), [""])
        assert ran.exit_code == 2 and "it is empty" in ran.output, (name, ran.output)
