"""Pictures: well-formed, to scale, and free of other people's markup."""

from xml.etree import ElementTree as xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from imagebuilder.measure.render import words
from imagebuilder.measure.render.pictures import Piece, Row, bars, levels, ratios, strip, ticks, trend
from imagebuilder.measure.statistics import Summary
from tests.examples import examples

AMOUNTS = some.floats(0, 1e18)


def percent(element: xml.Element, name: str) -> float:
    return float(element.attrib[name].removesuffix("%"))


def test_bars_follow_each_other_to_scale() -> None:
    rows = (Row("a", "", (Piece("a", 25, "c0"),)), Row("b", "", (Piece("b", 50, "c1"), Piece("c", 25, "c2")), 25))
    root = xml.fromstring(bars(rows, title="t", unit=words.ms))
    drawn = [each for each in root.iter("rect") if each.get("class") != "track"]
    assert [(each.get("class"), percent(each, "x"), percent(each, "width")) for each in drawn] == [
        ("c0", 0, 25),
        ("c1", 25, 50),
        ("c2", 75, 25),
    ]


def test_what_was_not_measured_has_no_bar() -> None:
    root = xml.fromstring(bars([Row("a", words.ms(None))], title="t", unit=words.ms))
    assert [each.get("class") for each in root.iter("rect")] == ["track"]
    assert "not measured" in "".join(root.itertext())


def test_every_sample_is_a_dot_where_it_belongs() -> None:
    root = xml.fromstring(strip(Summary.of([10, 20, 30]), title="t", interval=(10, 30), unit=words.ms))
    shares = [percent(each, "cx") for each in root.iter("circle")]
    assert shares[1] == 50 and shares[1] - shares[0] == pytest.approx(shares[2] - shares[1], abs=0.02)
    (median,) = [each for each in root.iter("line") if each.get("class") == "median"]
    assert percent(median, "x1") == 50
    assert [each.findtext("title") for each in root.iter("circle")] == [
        "run 1: 10.0 ms",
        "run 2: 20.0 ms",
        "run 3: 30.0 ms",
    ]


def test_a_gap_in_a_trend_is_a_gap() -> None:
    values = [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), None, (3.0, 3.0, 3.0)]
    root = xml.fromstring(trend(values, title="t", unit=words.ms, below="1234"))
    assert len(list(root.iter("circle"))) == 3
    assert len([each for each in root.iter("line") if each.get("class") == "trend"]) == 1


def test_ratios_stand_around_1_and_are_cut_where_nobody_can_read_them() -> None:
    spans = [("a", (0.9, 1.0, 1.1)), ("b", (0.5, 3.0, 9.0))]
    root = xml.fromstring(ratios(spans, title="t", unit=words.times))
    (dot,) = root.iter("circle")
    (one,) = [each for each in root.iter("line") if each.get("class") == "median"]
    assert percent(dot, "cx") == percent(one, "x1")
    assert [percent(each, "x2") for each in root.iter("line") if each.get("class") == "whisker"][1] == 100


def test_dots_that_are_close_are_told_apart() -> None:
    assert levels([50, 50, 50, 10]) == [0, 1, -1, 0]
    assert len(levels([5.0] * 100)) == 100


@settings(deadline=None, derandomize=True, max_examples=examples(60))
@given(some.lists(AMOUNTS, min_size=1, max_size=30), some.text())
def test_any_figures_and_any_label_draw(amounts: list[float], label: str) -> None:
    label = "".join(letter for letter in label if letter.isprintable())
    summary = Summary.of(amounts)
    pictures = (
        bars([Row(label, label, (Piece(label, each, "c0"),)) for each in amounts], title=label, unit=words.size),
        strip(summary, title=label, interval=(summary.min, summary.max), unit=words.ms),
        trend([(each, each, each) for each in amounts], title=label, unit=words.count, below=[label] * len(amounts)),
    )
    for picture in pictures:
        root = xml.fromstring(picture)
        assert {each.tag for each in root.iter()} <= {"svg", "rect", "line", "circle", "text", "title"}
        assert root.get("aria-label") == label
        for each in root.iter():
            for name, value in each.attrib.items():
                assert not value.endswith("%") or -0.01 <= float(value[:-1]) <= 100.31, (name, value)


@settings(deadline=None, derandomize=True)
@given(some.floats(0, 1e9), some.floats(0.001, 1e9), some.integers(2, 6))
def test_ticks_are_round_and_inside(low: float, span: float, wanted: int) -> None:
    high = low + span
    found = ticks(low, high, wanted)
    assert len(found) <= wanted + 1
    assert all(low - span * 0.01 <= each <= high + span * 0.01 for each in found)
