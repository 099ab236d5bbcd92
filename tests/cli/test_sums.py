"""Every kind of report that the command line writes, of machines that really started: its figures fit together, and
tables, pages and promises say the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.app import HTTP, lay_down, recipe_text
from tests.cli.conftest import Cli
from tests.measure.sums import contradictions

BUDGET = """
[root]
format = "memory"

[budget]
image_bytes = 9_000_000
startup_floors = 500
guest_used_bytes = 30_000_000
host_pss_bytes = 500_000_000
instructions = 500_000_000
"""
KINDS: dict[str, tuple[str, ...]] = {
    "test": ("test", "app", "--runs", "4"),
    "bench": ("bench", "app", "--runs", "4", "--vs", "app", "--bare", "--instructions", "--initcalls"),
    "clones": ("bench", "app", "--runs", "4", "--template"),
    "density": ("bench", "app", "--density", "3"),
}


@pytest.mark.vm
@pytest.mark.parametrize("kind", KINDS)
def test_figures_fit_together(cli: Cli, application: Path, tmp_path: Path, kind: str) -> None:
    """A root that is used where it lies in memory: the kernel counts its pages as reserved, and as mapped."""
    lay_down(tmp_path / "app", application, recipe_text("http=200", ready=HTTP.format(timeout_s=120), more=BUDGET))
    ran = cli(*KINDS[kind], "--accel", "tcg", "--json", "r.json")
    assert ran.status == 0, ran
    report = json.loads((tmp_path / "r.json").read_text())
    assert contradictions(report) == []
    if kind in ("test", "bench"):
        shown(cli, ran.out, report["images"][0], tmp_path)


def shown(cli: Cli, printed: str, image: dict[str, Any], tmp_path: Path) -> None:
    """The multiples of the floor stand in the table, in the promise, on the page and in Markdown: the same ones."""
    times = image["startup"]["floors"]["median"]
    said = f"{times:.1f}" if times >= 10 else f"{times:.2f}"
    assert re.search(rf"\b{times:.1f}\b", printed)
    assert {row["key"]: row["value"] for row in image["budget"]}["startup_floors"] == times
    assert cli("report", "r.json", "--html", "r.html", "--markdown", "r.md").status == 0
    for page in ("r.html", "r.md"):
        text = (tmp_path / page).read_text()
        assert re.search(rf"\b{said.rstrip('0').rstrip('.')}0* ×", text) or f"{times:.1f} ×" in text, page
    kinds = image["memory"]["guest_bytes"]
    assert kinds["kernel_other"] >= 0 and kinds["mapped"] > 0 and "counted_twice" not in kinds
