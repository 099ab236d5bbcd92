"""The package without its command line: what each verb does can be called where click and rich are not installed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuilder.cli.main import VERBS
from tests.app import RECIPE, lay_down
from tests.docs.blocks import text

PAGE = "docs/python.md"
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text(PAGE), re.M))
NO_WORK = {"completion", "schema"}  # prints what click, or the model, has
WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("click", "rich"))  # None: whoever imports it gets an ImportError
"""
IMPORTS = """
import importlib, pkgutil
import imagebuilder
for each in pkgutil.walk_packages(imagebuilder.__path__, "imagebuilder.", onerror=print):
    if "__main__" not in each.name and not each.name.startswith("imagebuilder.cli"):
        importlib.import_module(each.name)
for name in sys.argv[1:]:
    assert callable(pkgutil.resolve_name(name)), name
"""
WORK = """
import json
from pathlib import Path
from imagebuilder.build.walk import build
from imagebuilder.events import silent
from imagebuilder.machine.spec import Accelerator
from imagebuilder.measure import bench
from imagebuilder.measure.against import Against
from imagebuilder.measure.rounds import Schedule
from imagebuilder.measure.selection import Selection
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
store, out = Store(Path(sys.argv[1])), Path("out")
image = build(load("app"), out, store=store, say=silent).image
selection = Selection(["app"], Accelerator.TCG, out=out, store=store)
report = bench.starts(selection, Schedule(runs=2), against=Against("app"))
print(json.dumps([image.digest, report.as_json()]))
"""


def python(code: str, *words: object, folder: Path) -> str:
    """What code prints that runs without click and rich."""
    argv = [sys.executable, "-c", WITHOUT + code, *map(str, words)]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_verb_has_a_function() -> None:
    assert {*VERBS} - NO_WORK == {*ROWS}


@pytest.mark.tools
def test_all_rooms_but_the_command_line_can_be_imported_without_it(tmp_path: Path) -> None:
    named = [name for row in ROWS.values() for name in re.findall(r"`(imagebuilder\.[\w.]+)`", row)]
    assert len(named) >= len(ROWS)
    python(IMPORTS, *named, folder=tmp_path)


@pytest.mark.vm
def test_an_image_is_built_and_measured_from_python(tmp_path: Path, application: Path, cache: Path) -> None:
    lay_down(tmp_path / "app", application, RECIPE)
    digest, report = json.loads(python(WORK, cache, folder=tmp_path))
    first, again = report["images"]
    assert first["digest"] == again["digest"] == digest
    assert (first["name"], again["name"]) == ("app", "app again")
    assert first["comparison"]["verdict"] == "undecided"  # two rounds decide nothing
    assert len(first["startup"]["ready_ms"]["samples"]) == 2
