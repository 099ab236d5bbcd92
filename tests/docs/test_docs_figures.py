"""The figures of our pages are those of the reports in the tree, and what is told of sizes is so."""

import re
from pathlib import Path

import pytest

from tests.docs import figures
from tests.docs.blocks import PAGES, ROOT, text


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_the_figures_of_the_reports(page: str) -> None:
    whole = text(page)
    assert (page in figures.PAGES) == bool(figures.PLACE.search(whole))
    assert whole == figures.written(whole), "run `make docs-figures`"


def test_every_figure_stands_in_a_page() -> None:
    named = {found["name"] for page in figures.PAGES for found in figures.PLACE.finditer(text(page))}
    assert named == set(figures.FIGURES)


@pytest.mark.parametrize("name", figures.REPORTS)
def test_reports_of_the_tree_name_no_machine(name: str) -> None:
    assert all(image.command is None for image in figures.report(name).images)


def test_a_new_report_changes_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = text("README.md")
    for name in figures.REPORTS:
        (tmp_path / f"{name}.json").write_bytes((figures.FOLDER / f"{name}.json").read_bytes())
    changed = figures.report("starts")
    images = tuple(image.model_copy(update={"bytes": 99_900_000}) for image in changed.images)
    (tmp_path / "starts.json").write_bytes(changed.model_copy(update={"images": images}).to_bytes())
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    assert "99.9 MB" not in before
    assert figures.written(before).count("99.9 MB") == len(images)


def test_init_is_as_large_as_its_page_says() -> None:
    told = re.search(
        r"about ([\d,]+)\s+lines\s+of\s+C,\s+one\s+static\s+program\s+of\s+(\d+)\s+KB", text("docs/guest.md")
    )
    assert told
    platform = ROOT / "imagebuilder" / "platforms" / "linux"
    sources = (platform / "src").glob("*.[ch]")
    lines = sum(path.read_text().count("\n") for path in sources)
    assert int(told[1].replace(",", "")) == pytest.approx(lines, rel=0.05)
    assert int(told[2]) == round((platform / "prebuilt" / "init").stat().st_size / 1000)
