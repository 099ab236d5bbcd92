"""The tables of ``bench`` and ``report`` at every width: nothing is cut, and what is left out is named."""

import io

import pytest
from rich.console import Console

from imagebuilder.cli.bench import density_table, table
from imagebuilder.cli.columns import Column, draw
from imagebuilder.measure.change import Change, Rule, Verdict
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.density import Density
from imagebuilder.measure.statistics import Summary
from tests.measure.reports import FULL, given


def printed(width: int, show: object, *images: object) -> list[str]:
    """What is shown of some images, by lines."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console, given(*images).report, why="no KVM here")  # type: ignore[operator,arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def compared(name: str) -> object:
    """An image with all that a comparison may say."""
    changes = tuple(
        Change(what, Verdict.UNDECIDED, 1.082, 0.941, 1.223, 1_046.5, 1.15)
        for what in ("ready", "application", "instructions", "measuring_cpu")
    )
    said = Comparison(f"{name} before", True, Verdict.UNDECIDED, "the rounds of one run", changes, Rule())
    return FULL.model_copy(update={"name": name, "comparison": said})


@pytest.mark.parametrize("width", [72, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["nginx", "nginx@debian-cloud"])
def test_a_bench_is_whole(width: int, name: str) -> None:
    lines = printed(width, table.show, compared(name))
    assert all("…" not in line for line in lines)
    text = "\n".join(lines)
    for said in ("verdict", "undecided", "610.0", "14.8"):
        assert said in text
    tables = [line for line in lines if line[:1] in "┏┡│└"]
    assert tables and max(map(len, tables)) <= width
    for head in ("p95", "98,000,050"):
        assert head in text or "no room here for" in text
    assert ("no room here for" not in text) == (width >= (100 if name == "nginx" else 120))


@pytest.mark.parametrize("width", [80, 120])
def test_clones_are_whole(width: int) -> None:
    many = Summary.of([1000.0 + each for each in range(200)])
    own = Summary.of([12_345_678] * 200)
    density = Density(200, 200, 2, None, None, many, 123456.0, many, own, 2_469_135_600, 2_500_000_000, True)
    lines = printed(width, density_table.show, FULL.model_copy(update={"name": "nginx", "density": density}))
    text = "\n".join(lines)
    assert "200 of 200" in text and "2.5 GB" in text
    assert max(len(line) for line in lines if line[:1] in "┏┡│└") <= width
    assert ("no room here for" not in text) == (width >= 120)


def test_a_column_that_says_nothing_is_not_shown() -> None:
    console = Console(file=io.StringIO(), width=80)
    draw(console, "t", [Column("a", ["1"]), Column("b", ["–"], rank=1), Column("c", ["2"], rank=1)])
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "c" in text and "b" not in text
