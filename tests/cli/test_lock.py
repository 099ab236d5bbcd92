"""``imagebuilder lock`` and ``build --frozen``, as a user has them."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from imagebuilder.sources.kind import LOCKFILE

from .conftest import Cli

pytestmark = pytest.mark.tools
STALE = re.compile(r'(\.kernel\]\nkey = ")[0-9a-f]{64}')


def test_it_is_written_and_a_frozen_build_takes_it(cli: Cli, recipe: Path) -> None:
    refused = cli("build", "app", "-q", "--frozen")
    assert refused.status == 2 and "app has no recipe.lock for" in refused.err
    assert "hint: imagebuilder lock app\n" in refused.err
    assert cli("lock", "app").out == "app: recipe.lock: written: 0 packages, the kernel, init\n"
    assert cli("lock", "app").out == "app: recipe.lock: as it was\n"
    built = cli("build", "app", "-q", "--frozen")
    assert (built.status, built.err) == (0, "")


def test_a_check_has_an_exit_status_and_writes_nothing(cli: Cli, recipe: Path) -> None:
    missing = cli("lock", "app", "--check")
    assert (missing.status, missing.out) == (1, "app: recipe.lock: there is none\n")
    assert not (recipe / LOCKFILE).exists()
    cli("lock", "app")
    assert cli("lock", "app", "--check").status == 0
    stale = STALE.sub(rf"\g<1>{'0' * 64}", (recipe / LOCKFILE).read_text())
    (recipe / LOCKFILE).write_text(stale)
    checked = cli("lock", "app", "--check")
    assert (checked.status, (recipe / LOCKFILE).read_text()) == (1, stale)
    assert checked.out == "app: recipe.lock: would change\n  kernel micro: another build of it\n"
    assert cli("lock", "app").out == "app: recipe.lock: written\n  kernel micro: another build of it\n"


def test_json(cli: Cli, recipe: Path) -> None:
    (first,) = json.loads(cli("lock", "app", "--json").out)["locks"]
    assert [change["what"] for change in first.pop("changes")] == ["kernel", "init"]
    assert first == {"name": "app", "path": str(recipe / LOCKFILE), "fits": False, "written": True}
    (second,) = json.loads(cli("lock", "app", "--json").out)["locks"]
    assert (second["fits"], second["written"], second["changes"]) == (True, False, [])


def test_words_that_exclude_each_other(cli: Cli, recipe: Path) -> None:
    for words in (("lock", "app", "--update", "--check"), ("build", "app", "--frozen", "--refresh")):
        ran = cli(*words)
        assert ran.status == 2 and "leave" in ran.err and not (recipe / LOCKFILE).exists(), ran


def test_a_folder_that_cannot_be_written(cli: Cli, recipe: Path) -> None:
    recipe.chmod(0o555)
    try:
        built = cli("build", "app", "-q", ordinary=True)
        asked = cli("lock", "app", ordinary=True)
    finally:
        recipe.chmod(0o755)
    assert built.status == 0 and built.err.count("\n") == 1
    assert "recipe.lock cannot be written: Permission denied: what was chosen is known to this cache alone" in built.err
    assert asked.status == 2 and "recipe.lock cannot be written: Permission denied" in asked.err


def test_the_hint_for_a_folder_that_cannot_be_written_works(cli: Cli, recipe: Path) -> None:
    installed = recipe.rename(recipe.parent / "installed app")
    installed.chmod(0o555)
    try:
        refused = cli("build", str(installed), "-q", "--frozen", ordinary=True)
        hint = refused.err.partition("hint: ")[2].strip()
        assert refused.status == 2 and hint.startswith("mkdir -p recipes && cp -r "), refused
        copied, _, command = hint.rpartition(" && imagebuilder ")
        subprocess.run(["sh", "-c", copied], cwd=recipe.parent, check=True, timeout=60)
        locked = cli(*shlex.split(command), ordinary=True)
    finally:
        installed.chmod(0o755)
    assert locked.status == 0 and (recipe.parent / "recipes" / installed.name / LOCKFILE).is_file(), locked


def test_the_verb_itself_has_that_hint(cli: Cli, recipe: Path) -> None:
    installed = recipe.rename(recipe.parent / "installed")
    installed.chmod(0o555)
    try:
        hints = [
            cli("lock", str(installed), *option, ordinary=True).err.partition("hint: ")[2].strip()
            for option in ([], ["--update"])
        ]
    finally:
        installed.chmod(0o755)
    begin = f"mkdir -p recipes && cp -r {installed} recipes && chmod -R u+w recipes/installed && imagebuilder lock "
    assert hints == [f"{begin}recipes/installed", f"{begin}recipes/installed --update"]
