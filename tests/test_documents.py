"""Documents from outside: whatever stands in them is read, or is one kind of error at every door."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import documents, keep, pages
from imagebuilder.bundle import Bundle
from imagebuilder.errors import ImagebuilderError
from imagebuilder.kernel.definition import load_definition
from imagebuilder.machine.template import Template
from imagebuilder.measure import report, subject
from imagebuilder.recipe.load import load
from tests.examples import examples

JSON_BOMBS = {
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * 500 + b"]" * 500,
    "deep tables": b'{"a":' * 500 + b"1" + b"}" * 500,
    "400 digits": b'{"schema": ' + b"9" * 400 + b"}",
    "5000 digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "half a character": b'{"schema": "\\ud800"}',
    "no number": b'{"schema": NaN}',
    "no UTF-8": b'{"schema": "\xff"}',
    "a list": b"[]",
    "null": b"null",
    "long": b" " * (documents.MOST_BYTES + 1),
}
TOML_BOMBS = {
    "deep": b"name = " + b"[" * 5000,
    "deep tables": b"name = " + b"{a=" * 500 + b"1" + b"}" * 500,
    "many parts": b"a" + b".a" * 30_000 + b" = 1",
    "many quoted parts": b'"a b"' + b' . "="' * 5_000 + b" = 1",
    "400 digits": b"name = " + b"9" * 400,
    "5000 digits": b"name = " + b"9" * 5000,
    "no UTF-8": b"name = '\xff'",
    "many keys": b"".join(b"k%d = 1\n" % number for number in range(90_000)),
    "many wrong tables": b"[[files]]\nq = 1\n" * 45_000,
    "many patterns": b'source = { type = "files", files = [' + b'"nothing*",' * 60_000 + b"] }",
    "a pattern without an end": b'source = { type = "files", files = ["' + b"[a" * 60_000 + b'"] }',
    "a key without an end": b"k" * 1_000_000 + b" = 1",
    "a key on two lines": b'"a\\n\\u001b[31m" = 1',
    "quotes without an end": b'\\"' * 200_000,
}
TEMPLATE: dict[str, Any] = {
    "schema": "imagebuilder.template/1",
    "key": "k",
    "name": "app",
    "circumstances": dict.fromkeys(("image", "machine", "words", "qemu", "cpu", "warm"), "x"),
    "guest_ns": 1,
    "unsure_ns": 1,
    "machine": "microvm",
    "accelerator": "tcg",
    "memory_mib": 64,
    "cpus": 1,
    "acpi": False,
    "network": True,
    "ports": [80],
    "disks": ["root"],
    "ready": {"tcp": {"port": 80}},
}
JSON_DOORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "template.json": ("template.json", lambda file: Template.read(file.parent)),
    "image.json": ("image.json", lambda file: Bundle.open(file.parent)),
    "pages.json": ("pages.json", lambda file: pages.read(file, hint="learn them again")),
    "keep.json": ("keep.json", lambda file: keep.read(file, hint="trace it again")),
    "report": ("report.json", report.load),
}
TOML_DOORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "recipe.toml": ("recipe.toml", lambda file: load(file.parent)),
    "kernel.toml": ("kernel.toml", lambda file: load_definition(file.parent)),
    "--machine": ("machine.toml", subject.load),
}


def _refused(door: tuple[str, Callable[[Path], Any]], data: bytes, folder: Path) -> None:
    file = folder / door[0]
    file.write_bytes(data)
    began_s = time.process_time()
    with pytest.raises(ImagebuilderError) as error:
        door[1](file)
    assert time.process_time() - began_s < 20
    assert all(line.isprintable() for line in error.value.message.split("\n"))
    assert len(error.value.message) < 20_000


@pytest.mark.parametrize("bomb", JSON_BOMBS)
@pytest.mark.parametrize("door", JSON_DOORS)
def test_a_json_document_that_would_break_a_parser(door: str, bomb: str, tmp_path: Path) -> None:
    _refused(JSON_DOORS[door], JSON_BOMBS[bomb], tmp_path)


@pytest.mark.parametrize("bomb", TOML_BOMBS)
@pytest.mark.parametrize("door", TOML_DOORS)
def test_a_toml_document_that_would_break_a_parser(door: str, bomb: str, tmp_path: Path) -> None:
    _refused(TOML_DOORS[door], TOML_BOMBS[bomb], tmp_path)


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(st.binary(), st.lists(st.sampled_from(list(b"[]{}.\"'\\=a1\n# ")), max_size=60).map(bytes)))
def test_any_bytes_are_a_document_or_one_kind_of_error(data: bytes) -> None:
    for parse in (documents.json_of, documents.toml_of):
        try:
            parse(data)
        except documents.Damaged as error:
            assert str(error)


def test_dots_in_a_text_are_no_parts_of_a_key() -> None:
    text, document = documents.toml_of(b'a = """' + b"x." * 500 + b'"""\nb = 1.5 # ' + b"a." * 500)
    assert document["a"] == "x." * 500
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [{"guest_ns": "soon"}, {"name": 5}, {"ports": ["http"]}, {"disks": [1]}, {"ready": []}, {"sha256": {"state": 1}},
     {"ready": {"tcp": 80}}, {"ready": {}}, {"memory_mib": True}, {"ports": 80}, {"hook": 3}, {"circumstances": {}},
     {"machine": []}],
    ids=str,
)  # fmt: skip
def test_a_value_of_another_type_in_a_template(wrong: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE | wrong))
    with pytest.raises(ImagebuilderError, match="holds no template that can be used") as error:
        Template.read(tmp_path)
    assert error.value.message.isprintable()


def test_a_template_with_values_of_their_types(tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE))
    assert Template.read(tmp_path).ports == (80,)
