"""docs/reports.md explains the document: every part, every key, which of them are always there, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.measure.report import Report, json_schema

TEXT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
SECTIONS = {
    found[1]: dict(re.findall(r"^\| `(\w+)` \|(?: (•))? \|", found[2], re.M))
    for found in re.finditer(r"^### (\w+).*?\n(.*?)(?=^###|\Z)", TEXT, re.M | re.S)
}
SCHEMA = json_schema()
PARTS: dict[str, Any] = {
    "Report": SCHEMA,
    **{name: part for name, part in SCHEMA["$defs"].items() if "properties" in part},
}
ACCEPTED = Report.model_json_schema(mode="validation")
NEEDED: dict[str, set[str]] = {
    name: set(part.get("required", ())) for name, part in {"Report": ACCEPTED, **ACCEPTED["$defs"]}.items()
}
NEEDED["Report"].add("schema")  # by the loader, which says more than that it is missing


def test_every_part_has_its_section() -> None:
    assert set(SECTIONS) == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_every_key_is_explained(name: str) -> None:
    assert list(SECTIONS[name]) == list(PARTS[name]["properties"])


@pytest.mark.parametrize("name", PARTS)
def test_what_must_be_there_is_marked(name: str) -> None:
    assert {key for key, mark in SECTIONS[name].items() if mark} == NEEDED[name]
