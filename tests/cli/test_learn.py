"""``imagebuilder learn``, as a user has it: a real start, and the list of what it used."""

import json
import re
from pathlib import Path

import pytest

from tests.app import lay_down, recipe_text
from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools

ON_DISK = '[root]\nformat = "erofs"\n'
WITH_LIST = ON_DISK + 'pages = "pages.json"\n'
PAGE = 4096


@pytest.mark.vm
def test_learned_from_one_start(cli: Cli, application: Path, tmp_path: Path) -> None:
    folder = lay_down(tmp_path / "app", application, recipe_text("say=hello, world", "wait", more=ON_DISK))
    ran = cli("learn", "app", "--accel", "tcg", "-q")
    assert ran.status == 0, ran
    assert (
        ran.out.startswith("app/pages.json: ")
        and 'write pages = "pages.json" under [root] of app/recipe.toml' in ran.out
    )

    (program,) = json.loads((folder / "pages.json").read_text())["files"]
    assert program["path"] == "/usr/bin/app"
    read = {page for first, count in program["pages"] for page in range(first, first + count)}
    whole = -(-application.stat().st_size // PAGE)
    assert 0 in read, "the ELF header is read by whoever starts a program"
    said = re.search(r"(\d+) pages of 1 file are used; (\d+) will be read", ran.out)
    assert said is not None and int(said[2]) == len(read), ran.out
    assert max(read) < whole and int(said[1]) < 0.9 * whole, "what is not used is not told"

    first = (folder / "pages.json").read_bytes()
    (folder / "recipe.toml").write_text(recipe_text("say=hello, world", "wait", more=WITH_LIST))
    again = cli("learn", "app", "--accel", "tcg", "--json", "--out", "elsewhere")
    assert again.status == 0, again
    (told,) = json.loads(again.out)
    assert told["pages"] == len(read) and told["parts"] == len(program["pages"]) and told["used_pages"] <= told["pages"]
    assert (folder / "pages.json").read_bytes() == first, "the same image gives the same list, whatever list it had"
    assert (tmp_path / "elsewhere" / "app" / "image.json").exists()
    built = cli("build", "app", "--out", "elsewhere")
    assert built.status == 0 and "another" not in built.err, "and the list fits"


@pytest.mark.parametrize(
    ("words", "more", "listed", "says"),
    [
        (("learn", "app"), '[root]\nformat = "initramfs"\n', None, "app has its root in memory"),
        (("learn", "app"), WITH_LIST, None, "there is no file 'pages.json' beside the recipe"),
        (("build", "app"), WITH_LIST, "{", "app/pages.json is no list of pages"),
        (("build", "app"), WITH_LIST, "{", "hint: `imagebuilder learn app` writes it again"),
        (("learn", "nobody"), "", None, "there is no recipe of this name"),
    ],
)
def test_refused(
    cli: Cli, application: Path, tmp_path: Path, words: tuple[str, ...], more: str, listed: str | None, says: str
) -> None:
    folder = lay_down(tmp_path / "app", application, recipe_text("wait", more=more))
    if listed is not None:
        (folder / "pages.json").write_text(listed)
    ran = cli(*words)
    assert ran.status == 2, ran
    assert says in " ".join(ran.err.split()) and "Traceback" not in ran.err, ran
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_what_ends_when_it_is_ready_is_refused(cli: Cli, application: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "app", application, recipe_text("exit=0", ready="exit = 0", more=ON_DISK))
    ran = cli("learn", "app", "--accel", "tcg")
    assert ran.status == 2 and "app has ended when it is ready" in ran.err, ran


@pytest.mark.vm
def test_a_damaged_list_is_learned_anew(cli: Cli, application: Path, tmp_path: Path) -> None:
    folder = lay_down(tmp_path / "app", application, recipe_text("say=hello, world", "wait", more=WITH_LIST))
    (folder / "pages.json").write_text("half a li")
    ran = cli("learn", "app", "--accel", "tcg")
    assert ran.status == 0, ran
    assert json.loads((folder / "pages.json").read_text())["schema"] == "imagebuilder.pages/1"
