"""The page: it has every figure, needs nothing else, no text of a report becomes markup, and a browser shows it."""

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as some

from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.render import html, markdown
from imagebuilder.measure.render.figures import of_image
from imagebuilder.measure.render.starts import UNATTRIBUTED, adds_up, total, waterfall
from imagebuilder.measure.report import Check, ImageReport
from imagebuilder.measure.statistics import Summary
from tests.examples import examples

from .reports import BARE, FULL, STARTUP, given, ready_after

CHROMIUM = which("chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
PATIENCE_S = 300
SCHEMES = {"dark": 0, "light": 1}  # as Chromium's setting preferredColorScheme counts them
TEXTS = some.one_of(
    some.sampled_from(
        ["</style><script>alert(1)</script>", "<img src=x onerror=1>", "\" onclick='x", "&lt;b>", "{{ 7*7 }}", "-->"]
    ),
    some.text(max_size=12),
)


class Read(HTMLParser):
    """Tags, attributes and text of a page, by a parser that is not ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def with_texts(texts: list[str]) -> ImageReport:
    """The full image with foreign texts wherever a report holds text."""
    name, version, digest, kernel, root, message, phase, kind, call, key = texts
    assert FULL.comparison
    beside = replace(
        FULL.comparison, reference=name, why=message, changes=(replace(FULL.comparison.changes[0], what=key),)
    )
    startup = STARTUP.model_copy(
        update={"phases_ms": {phase: Summary.of([600, 610, 650])}, "initcalls_ms": {call: 1.0}}
    )
    assert FULL.memory and FULL.machine
    changed: dict[str, Any] = {
        "name": name,
        "version": version,
        "digest": digest,
        "kernel": kernel,
        "root": root,
        "machine": FULL.machine.model_copy(update={"type": name}),
        "startup": startup,
        "memory": FULL.memory.model_copy(update={"guest_bytes": {kind: 1}}),
        "checks": (Check(name=key, holds=False, message=message),),
        "budget": (BudgetRow(key, 1, 2, False),),
        "comparison": beside,
        "warnings": (message, kind),
        "command": f"qemu {message}",
    }
    return FULL.model_copy(update=changed)


PLAIN = ["a"] * 10


@settings(deadline=None, derandomize=True, max_examples=examples(40))
@generated(some.lists(TEXTS, min_size=10, max_size=10), TEXTS)
def test_no_text_of_a_report_becomes_markup(texts: list[str], host: str) -> None:
    def page(words: list[str], place: str) -> Read:
        both = [given(with_texts(words), label=words[0], cpu=place), given(with_texts(words), label=place, cpu=place)]
        return Read(html.page(both))

    safe, found = page(PLAIN, "a"), page(texts, host)
    optional = {"span": 1, "td": 1}  # an empty digest is left out
    assert [tag for tag in found.tags if tag not in optional] == [tag for tag in safe.tags if tag not in optional]
    assert found.attributes <= safe.attributes


def test_a_text_is_shown_as_it_stands() -> None:
    name = "</style><script>alert('&amp;')</script>"
    read = Read(html.page([given(FULL.model_copy(update={"name": name}))]))
    assert name in read.text and "script" not in read.tags


def test_the_page_needs_nothing_else() -> None:
    text = html.page([given(FULL, BARE)])
    assert not re.search(r"https?:|//|url\(|@import|<link|<script|src=", text)
    assert "default-src 'none'" in text
    assert html.page([given(FULL, BARE)]) == text


def test_every_figure_is_there() -> None:
    text = " ".join(Read(html.page([given(FULL)])).text.split())
    for said in (
        "610.0 ms",
        "14.5 ×",
        "5.00 MB",
        "7.60 MB",
        "60.0 MB",
        "11 MiB",
        "35.0 MB",
        "98,000,050",
        "20.5 ms",
        "408.0 ms",
        "1.082",
        "1.041 to 1.123",
        "last week",
        "The interval is wide.",
        "1.016 (0.997 to 1.020) times as long as by its bare command line",
        "1.004 (0.999 to 1.010) times the processor time",
        "qemu-system-x86_64 -M microvm -append 'quiet <b>'",
        "steps of 10.0 ms",
        "kept to processors",
    ):
        assert said in text, said
    assert "✗ falls short" in text and "10.0 ×" in text


def test_what_was_not_measured_is_said_and_never_0() -> None:
    read = Read(html.page([given(BARE)]))
    assert read.text.count("not measured") >= 5
    assert not re.search(r"\b0(\.0+)? (ms|kB|MB|MiB|×)", read.text)
    assert "no such package" in read.text and "svg" not in read.tags


def test_every_picture_is_named_and_has_a_table_beside_it() -> None:
    text = html.page([given(FULL), given(ready_after(500, 510), label="b")])
    for section in re.findall(r'<section class="figure.*?</section>', text, re.S):
        assert section.count("<svg") == len(re.findall(r'<svg role="img" aria-label="[^"]+"', section))
        assert "<table>" in section


def test_the_waterfall_is_one_run_and_adds_up() -> None:
    parts = waterfall(STARTUP)
    assert parts == (("qmp", 42), ("kernel", 408), ("init", 60), ("application", 100))
    assert adds_up(parts, 610) and not adds_up(parts, 650)


def test_phases_that_the_guest_did_not_report_are_one_part() -> None:
    startup = STARTUP.model_copy(update={"phases_ms": {**STARTUP.phases_ms, "kernel": None, "init": None}})
    assert waterfall(startup) == (
        ("qmp", 42),
        (UNATTRIBUTED, 468),
        ("kernel", None),
        ("init", None),
        ("application", 100),
    )
    startup = STARTUP.model_copy(update={"phases_ms": {**STARTUP.phases_ms, "answer": None}})
    assert waterfall(startup)[-1] == ("answer", None) and total(waterfall(startup)) == 610


def test_phases_that_do_not_add_up_are_told() -> None:
    image = FULL.model_copy(
        update={"startup": STARTUP.model_copy(update={"phases_ms": {"qmp": Summary.of([1, 2, 3])}})}
    )
    said = [{figure.key: figure.text for figure in of_image(each)}["phases"] for each in (image, FULL)]
    assert "do not add up" in said[0] and "they add up" in said[1]


def test_a_report_of_nothing_holds_nothing() -> None:
    assert "no image was measured" in Read(html.page([given()])).text
    assert "no image was measured" in markdown.page([given()])


def test_it_tells_when_the_reports_were_made() -> None:
    monday, tuesday = (datetime(2026, 3, day, 12, 30, tzinfo=UTC) for day in (2, 3))
    text = Read(html.page([given(FULL, made=monday)])).text
    assert "2026-03-02 12:30 UTC" in text and "History" not in text
    text = html.page([given(FULL, made=monday), given(FULL, made=tuesday)])
    assert "2026-03-03 12:30 UTC, the last" in text and "2026-03-02 12:30 UTC</td>" in text
    assert ">03-02</text>" in text and ">03-03</text>" in text
    text = html.page([given(FULL), given(FULL, made=tuesday)])  # an older report does not tell
    assert ">03-03</text>" not in text and ">2</text>" in text


def test_places_are_shown_apart() -> None:
    both = [given(ready_after(500, 510)), given(ready_after(5, 5.1), accelerator="kvm")]
    text = Read(html.page(both)).text
    assert "not to be compared" in text and "Place 2 of 2" in text and "History" not in text
    assert "History" in Read(html.page([both[0], both[0]])).text


def browse(page: Path, *words: str, scheme: str = "light", width: int = 1200) -> str:
    """The page's document after Chromium has read it."""
    assert CHROMIUM
    own = f"--user-data-dir={page.parent / f'profile-{scheme}-{width}'}"
    argv = [
        CHROMIUM,
        *QUIET,
        own,
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--window-size={width},3000",
    ]
    try:
        done = subprocess.run(
            [*argv, *words, page.as_uri()], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"chromium did not come back within {PATIENCE_S} s")
    if done.returncode != 0:
        pytest.fail(f"chromium does not work here: {done.stderr[-300:]}")
    return done.stdout


@pytest.mark.tools
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 500)])
def test_a_browser_shows_it(tmp_path: Path, scheme: str, width: int) -> None:
    evil = FULL.model_copy(update={"name": "<script>document.title = 'taken'</script>"})
    text = html.page([given(FULL, BARE), given(ready_after(500, 510), evil, label="b")])
    page, picture = tmp_path / "report.html", tmp_path / f"{scheme}-{width}.png"
    page.write_text(text)
    document = browse(page, "--dump-dom", f"--screenshot={picture}", scheme=scheme, width=width)
    assert "<title>imagebuilder report</title>" in document
    shown = Read(document)
    for said in ("505.0 ms", "not measured", "✗ falls short", "98,000,050", "no such package"):
        assert said in shown.text, said
    assert shown.tags.count("svg") == text.count("<svg") and shown.tags.count("circle") == text.count("<circle")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
