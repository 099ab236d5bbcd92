"""Foreign reports: what is refused, each in one sentence, and what is tamed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure.render import html
from imagebuilder.measure.render.load_untrusted import labels, plain, read, tamed

from .reports import FULL, given


def document() -> Any:
    return given(FULL).report.as_json()


def written(folder: Path, changed: Any) -> Path:
    path = folder / "r.json"
    path.write_text(json.dumps(changed))
    return path


def test_an_honest_report_stays_as_it_is(tmp_path: Path) -> None:
    assert read([written(tmp_path, document())]) == (given(FULL),)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1, 1e19, -0.001])
@pytest.mark.parametrize("path", [("bytes",), ("startup", "ready_ms", "median"), ("memory", "host_bytes", "pss")])
def test_figures_that_cannot_be(tmp_path: Path, path: tuple[str, ...], number: float) -> None:
    changed = document()
    place = changed["images"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = number
    with pytest.raises(InputError) as caught:
        read([written(tmp_path, changed)])
    assert "\n" not in str(caught.value) and "make the report again" in str(caught.value)


def test_what_the_guest_sums_up_late_may_be_less_than_0(tmp_path: Path) -> None:
    changed = document()
    changed["images"][0]["memory"]["guest_bytes"]["kernel"] = -4096
    (found,) = read([written(tmp_path, changed)])
    assert "-4.1 kB" not in html.page([found]) and found.report.images[0].memory


@pytest.mark.parametrize("name", ["ready_ms", "floor_ms"])
@pytest.mark.parametrize(("key", "value"), [("samples", []), ("median", 0)])
def test_starts_that_cannot_be(tmp_path: Path, name: str, key: str, value: Any) -> None:
    changed = document()
    changed["images"][0]["startup"][name][key] = value
    with pytest.raises(InputError, match=rf"images\.0\.startup\.{name}"):
        read([written(tmp_path, changed)])


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a": ' * 100_000, b"\x00", b'{"schema": "imagebuilder.report/0"}']
)
def test_what_is_no_report_of_this_schema(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read([tmp_path / "r.json"])
    assert str(tmp_path / "r.json") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nginx ✓ é 中", "nginx ✓ é 中"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("two\nlines", "two lines"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\ud800", "\ufffd"),
        ("\ufffe\x00\u2028", "\ufffd\ufffd\ufffd"),
    ],
)
def test_texts_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_names_are_tamed_wherever_they_stand() -> None:
    image = FULL.model_copy(update={"name": "a\x1b"})
    phases = {"b\x1b": None}
    image = image.model_copy(
        update={"startup": image.startup and image.startup.model_copy(update={"phases_ms": phases})}
    )
    said = tamed(given(image, cpu="c\x1b").report).to_bytes().decode()
    assert "\x1b" not in json.dumps(json.loads(said), ensure_ascii=False) and len(re.findall("[abc]\ufffd", said)) == 3


def test_labels_tell_the_files_apart() -> None:
    assert labels([Path("a/r.json"), Path("b/r.json"), Path("b/s.json")]) == ("a/r.json", "b/r.json", "s.json")
