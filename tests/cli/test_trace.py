"""``imagebuilder trace``, as a user has it: a real start of the whole root, and an image of what was opened."""

import json
import subprocess
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from tests.cli.conftest import Cli
from tests.oci.making import Member, folder, link, tar

pytestmark = pytest.mark.tools
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    char text[64] = "";
    int fd = open("/srv/current/page", O_RDONLY), other = open("/etc/app/by\\name", O_RDONLY);
    if (other < 0 || read(fd, text, sizeof text - 1) < 0)
        return 1;
    printf("hello, %s\n", text);
    fflush(stdout);
    pause();
}
"""
RECIPE = """\
name = "app"
version = "1"
summary = "x"
source = { type = "oci", path = "image", slim = true }
ready = { console = "^hello, page", timeout_s = 120 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A container image of a program that opens two of its files by names that nobody knows, and its recipe."""
    from gzip import compress

    from tests.oci.registries import image

    (tmp_path / "app.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", tmp_path / "app", tmp_path / "app.c"], check=True)
    text = (tmp_path / "app").read_bytes().decode("latin-1")
    members = [
        folder("srv"), folder("srv/one"), Member("srv/one/page", "page"), link("srv/current", "one"),
        Member("srv/one/unused", "unused" * 1000), Member("etc/app/by\\name", "x"),
    ]  # fmt: skip
    rest = tar(members)
    at = tmp_path / "app-recipe"
    at.mkdir()
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("app")
        data = text.encode("latin-1")
        info.size, info.mode = len(data), 0o755
        archive.addfile(info, io.BytesIO(data))
    image(at / "image", [compress(out.getvalue(), 1, mtime=0), compress(rest, 1, mtime=0)])
    (at / "recipe.toml").write_text(RECIPE)
    return at


@pytest.mark.vm
@pytest.mark.parametrize("writable", ["true", "false"])
def test_traced_and_slimmed_by_it(cli: Cli, recipe: Path, writable: str) -> None:
    (recipe / "recipe.toml").write_text(RECIPE + f"root = {{ writable = {writable} }}\n")
    ran = cli("trace", "app-recipe", "--accel", "tcg", "-q")
    assert ran.status == 0, ran
    assert 'write keep = "keep.json" under [root]' in ran.out, ran
    listed = (recipe / "keep.json").read_bytes()
    found = {each["path"]: each["by"] for each in json.loads(listed)["files"]}
    assert found["/srv/one/page"] == ["/app"] and "/etc/app/by\\\\name" in found and "/app" in found
    assert "/srv/one/unused" not in found
    why = cli("trace", "app-recipe", "--why", "/srv/one/page")
    assert why.out == "/srv/one/page: opened by /app\n", why

    (recipe / "recipe.toml").write_text(RECIPE + f'root = {{ writable = {writable}, keep = "keep.json" }}\n')
    shown = cli("inspect", "app-recipe", "--json", "-q")
    assert shown.status == 0, shown
    paths = {each["path"] for each in json.loads(shown.out)["files"]}
    assert {"/srv/one/page", "/app"} <= paths and "/srv/one/unused" not in paths
    if writable == "true":
        tested = cli("test", "app-recipe", "--accel", "tcg", "--runs", "1", "-q")
        assert tested.status == 0, tested
        again = cli("trace", "app-recipe", "--accel", "tcg", "-q")
        assert again.status == 0 and (recipe / "keep.json").read_bytes() == listed, again


def test_no_byte_code_is_made_for_the_whole_root(recipe: Path, tmp_path: Path) -> None:
    (recipe / "recipe.toml").write_text(RECIPE)
    whole, image = (
        Build(load(recipe), Store(tmp_path / "cache"), silent, whole=each).planner for each in (True, False)
    )
    assert {*image.plan.slim.inputs.transforms} - {*whole.plan.slim.inputs.transforms} == {"bytecode"}


@pytest.mark.parametrize(
    ("words", "listed", "says"),
    [
        (("build", "app-recipe"), None, "leave the key out until `imagebuilder trace` has written it"),
        (("build", "app-recipe"), "{", "hint: `imagebuilder trace app` writes it again"),
        (("trace", "app-recipe", "--why", "/a"), "{", "keep.json is no list of files"),
        (("trace", "nobody"), "{", "there is no recipe of this name"),
    ],
)
def test_refused(cli: Cli, recipe: Path, words: tuple[str, ...], listed: str | None, says: str) -> None:
    (recipe / "recipe.toml").write_text(RECIPE + 'root = { keep = "keep.json" }\n')
    if listed is not None:
        (recipe / "keep.json").write_text(listed)
    ran = cli(*words)
    assert ran.status == 2 and says in " ".join(ran.err.split()) and "Traceback" not in ran.err, ran
