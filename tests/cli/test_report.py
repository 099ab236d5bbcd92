"""``imagebuilder report``, as a user types it."""

import json
import xml.etree.ElementTree as xml
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.measure.report import load
from tests.cli.conftest import Cli
from tests.measure.reports import BARE, FULL, given, ready_after

pytestmark = pytest.mark.tools


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report of two images."""
    path = tmp_path / "r.json"
    path.write_bytes(given(FULL, BARE).report.to_bytes())
    return path


def test_the_table_is_what_one_sees_without_options(cli: Cli, report: Path) -> None:
    ran = cli("report", "r.json")
    assert ran.status == 0 and "slower" in ran.out and "610.0" in ran.out and "(r.json)" in ran.out, ran
    report.write_bytes(given(FULL.model_copy(update={"comparison": None}), BARE).report.to_bytes())
    ran = cli("report", "r.json")
    assert ran.status == 0 and "nginx 1.22" in ran.out and "610.0" in ran.out and "(r.json)" in ran.out, ran


def test_the_table_tells_when_it_was_made(cli: Cli, report: Path) -> None:
    report.write_bytes(given(FULL, made=datetime(2026, 3, 2, 12, 30, tzinfo=UTC)).report.to_bytes())
    assert "r.json of 2026-03-02 12:30 UTC" in cli("report", "r.json").out


def test_all_documents_of_one_run(cli: Cli, report: Path, tmp_path: Path) -> None:
    ran = cli("report", "r.json", "--html", "r.html", "--markdown", "-", "--junit", "r.xml", "--json", "again.json")
    assert ran.status == 0 and ran.out.startswith("### ✗ imagebuilder: 2 of 2"), ran
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert [suite.get("name") for suite in xml.parse(tmp_path / "r.xml").getroot()] == ["nginx", "bare"]
    assert load(tmp_path / "again.json") == load(report)
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "r.html", "r.xml", "again.json"}


def test_several_reports(cli: Cli, report: Path, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(given(ready_after(500, 510)).report.to_bytes())
    ran = cli("report", "r.json", "s.json", "--html", "-", "--junit", "r.xml", "--json", "all.json")
    assert ran.status == 0 and "History" in ran.out, ran
    names = [suite.get("name") for suite in xml.parse(tmp_path / "r.xml").getroot()]
    assert names == ["r.json: nginx", "r.json: bare", "s.json: nginx"]
    assert [image.name for image in load(tmp_path / "all.json").images] == ["nginx", "bare", "nginx"]


def test_one_document_does_not_mix_places(cli: Cli, report: Path, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(given(FULL, accelerator="kvm").report.to_bytes())
    ran = cli("report", "r.json", "s.json", "--json", "all.json", "--html", "all.html")
    assert ran.status == 2 and "one place" in ran.err, ran
    assert not (tmp_path / "all.json").exists() and not (tmp_path / "all.html").exists()
    assert "not to be compared" in cli("report", "r.json", "s.json", "--html", "-").out


def older(document: Any) -> None:
    document["schema"] = "imagebuilder.report/0"


def broken(document: Any) -> None:
    document["images"][0]["startup"]["ready_ms"] = 5


def absurd(document: Any) -> None:
    document["images"][0]["startup"]["ready_ms"]["samples"] = []


@pytest.mark.parametrize("change", [older, broken, absurd])
def test_a_report_that_is_not_right(cli: Cli, report: Path, tmp_path: Path, change: Any) -> None:
    document = json.loads(report.read_text())
    change(document)
    report.write_text(json.dumps(document))
    refused(cli("report", "r.json", "--html", "r.html"), tmp_path)


def refused(ran: Any, folder: Path) -> None:
    """One sentence (and a hint), exit status 2, and nothing written."""
    assert ran.status == 2 and ran.err.startswith("error: ") and "Traceback" not in ran.err, ran
    assert len(ran.err.splitlines()) <= 2 and ran.out == "", ran
    assert [path.name for path in folder.iterdir() if path.name != "r.json"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("none.json",),
        (".",),
        ("none.json", "--html", "r.html"),
        ("r.json", "--html", "r.json"),
        ("r.json", "--html", "./r.json"),
        ("r.json", "--html", "x", "--markdown", "x"),
        ("r.json", "--html", "-", "--markdown", "-"),
        ("r.json", "--html", "none/r.html"),
        ("r.json", "--html", "."),
        ("r.json", "--html", "/proc/r.html"),
    ],
)
def test_files_that_cannot_be(cli: Cli, report: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    before = report.read_bytes()
    refused(cli("report", *words), tmp_path)
    assert report.read_bytes() == before


def test_a_folder_that_may_not_be_written(cli: Cli, report: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        refused(cli("report", "r.json", "--html", "r.html", ordinary=True), tmp_path)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("comparison", [True, None])
def test_a_foreign_report_steers_no_terminal(cli: Cli, report: Path, comparison: bool | None) -> None:
    assert FULL.comparison
    beside = replace(FULL.comparison, reference="[/]", changes=(replace(FULL.comparison.changes[0], what="[/]"),))
    image = FULL.model_copy(
        update={"name": "a\x1b[31m[red]b[/]", "version": "[/]", "comparison": comparison and beside}
    )
    report.write_bytes(given(image, cpu="[/bold]").report.to_bytes())
    ran = cli("report", "r.json")
    assert ran.status == 0 and "\x1b" not in ran.out and "[red]b[/]" in ran.out, ran


def test_help_says_what_it_does(cli: Cli) -> None:
    out = cli("report", "--help").out
    assert all(f"--{kind}" in out for kind in ("html", "markdown", "junit", "json"))
