"""Engines that copy a running QEMU: one is a folder and a row, and the package works without the folder."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.arch import TARGET
from imagebuilder.machine import engines
from imagebuilder.machine.accel import Accelerator
from imagebuilder.machine.engines import Engine, chosen, installed
from imagebuilder.machine.template import Template

from .test_template_values import kept

PACKAGE = paths.PACKAGE
FOLDER = PACKAGE / "machine" / "forkserver"
ROW = PACKAGE / "machine" / "engines.py"
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from imagebuilder import doctor
from imagebuilder.build.walk import build
from imagebuilder.events import Note, silent
from imagebuilder.machine.accel import Accelerator
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.paths import PACKAGE, cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from tests.machine.clones import ask

async def clones(template, said):
    async with Cloner(template, say=said.append) as cloner:
        assert await cloner.ready() is None
        async with cloner.clone() as one, cloner.clone() as other:
            return [await ask(one), await ask(other)]

store, said = Store(cache_dir()), []
bundle = build(load(sys.argv[1]), Path("out"), store=store, say=silent)
template = asyncio.run(found_or_made(Wanted.of(bundle, Accelerator.TCG), store))
told = asyncio.run(clones(template, said))
notes = [each.text for each in said if isinstance(each, Note)]
rows = [each.name for each in doctor.examine()]
print(json.dumps({"package": str(PACKAGE), "told": told, "notes": notes, "rows": rows}))
"""


def test_nothing_but_its_row_names_an_engine() -> None:
    named = [path for path in PACKAGE.rglob("*.py") if "forkserver" in path.read_text()]
    assert [path for path in named if FOLDER not in path.parents] == [ROW]


@pytest.mark.tools
def test_an_engine_is_chosen_where_it_can_copy(template: Template) -> None:
    (engine,) = installed()
    assert chosen(template) is engine and engine.missing() is None
    assert chosen(replace(template, accelerator=Accelerator.KVM)) == "only machines under tcg can be copied"


def test_one_whose_module_is_not_there_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MODULES", ("imagebuilder.machine.absent",))
    assert installed() == ()


def test_one_that_lacks_what_it_needs_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_engine.py").write_text("import absent_module_of_its_own\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines, "MODULES", ("broken_engine",))
    with pytest.raises(ModuleNotFoundError, match="absent_module_of_its_own"):
        installed()


def test_the_first_that_can_is_taken_else_each_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def row(name: str, why: str | None) -> str:
        return (
            "from imagebuilder.machine.engines import Engine\n"
            f"ENGINE = Engine({name!r}, '', lambda: None, lambda template: {why!r}, lambda *words, **more: None)\n"
        )

    for name, why in (("one", "one cannot"), ("two", "two cannot"), ("three", None)):
        (tmp_path / f"toy_engine_{name}.py").write_text(row(name, why))
    template = kept(tmp_path / "template")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engines, "MODULES", ("toy_engine_one", "toy_engine_two"))
    assert chosen(template) == "one cannot; two cannot"
    monkeypatch.setattr(engines, "MODULES", ("toy_engine_one", "toy_engine_three", "toy_engine_two"))
    found = chosen(template)
    assert isinstance(found, Engine) and found.name == "three"


@pytest.mark.vm
def test_the_package_works_without_the_folder_of_the_fork_server(cache: Path, tmp_path: Path) -> None:
    """In a copy of the package: an image is built and kept as a template, and each of its clones is a new QEMU."""
    shutil.copytree(PACKAGE, tmp_path / "imagebuilder", ignore=shutil.ignore_patterns("__pycache__", "forkserver"))
    (tmp_path / "kernels").symlink_to(paths.shipped("kernels"))
    (tmp_path / "tests").symlink_to(Path(__file__).parents[1])
    assert not (tmp_path / FOLDER.relative_to(PACKAGE.parent)).exists()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent / "who")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "IMAGEBUILDER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["package"] == str(tmp_path / "imagebuilder")
    assert found["notes"] == ["nothing that copies a running QEMU is installed: every clone is a new QEMU"]
    assert [each["told"] for each in found["told"]] == ["1", "1"], "neither is a copy of one that was told before"
    assert found["told"][0]["hostname"] != found["told"][1]["hostname"]
    assert "fork server" not in found["rows"] and TARGET.qemu in found["rows"]
