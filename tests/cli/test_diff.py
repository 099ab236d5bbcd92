"""``diff`` and ``inspect --html`` as a user has them."""

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools


def test_two_builds_of_a_recipe(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli("diff", "app", "app")
    assert ran.status == 2 and "there is no image of app in out" in ran.err
    assert cli(*shlex.split(ran.err.partition("hint: ")[2])[1:]).status == 0
    ran = cli("diff", "app", "out/app", "--exit-code")
    assert ran.status == 0 and ran.out == "The images do not differ.\n"
    (tmp_path / "out").rename(tmp_path / "before")
    text = (recipe / "recipe.toml").read_text()
    (recipe / "recipe.toml").write_text(f'{text}\n[[files]]\npath = "/srv/new"\ntext = "new"\n')
    assert cli("build", "app").status == 0
    ran = cli("diff", "before/app", "app", "--exit-code")
    assert ran.status == 1 and "Files: 1 difference" in ran.out and "/srv/new" in ran.out
    assert cli("diff", "before/app", "app").status == 0
    found = json.loads(cli("diff", "before/app", "app", "--json").out)
    assert not found["same"] and found["packages"] == [{"name": "app: recipe", "before": None, "after": "1"}]
    assert [(each["name"], each["before"]) for each in found["files"]] == [("/srv/new", None)]
    assert found["kernel"] == [] and found["options"] == []


def test_a_page_of_what_is_in_it(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    assert cli("build", "app").status == 0
    ran = cli("inspect", "app", "--html", "app.html")
    assert (ran.status, ran.out) == (0, "")
    text = (tmp_path / "app.html").read_text()
    assert "vmlinux" in text and "http" not in text.replace("http-equiv", "")
    assert cli("inspect", "app", "--html", "-").out == text
    ran = cli("inspect", "app", "--html", "app.html", "--json")
    assert json.loads(ran.out)["image"]["name"] == "app"
    ran = cli("inspect", "app", "--html", "-", "--json")
    assert ran.status == 2 and "give --html a file" in ran.err
    ran = cli("inspect", "app", "--html", "missing/app.html")
    assert ran.status == 2 and "missing is not there" in ran.err
