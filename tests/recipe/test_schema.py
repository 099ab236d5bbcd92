import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from imagebuilder import paths
from imagebuilder.recipe.schema import json_schema

from .toml import GOOD

SHIPPED = sorted(paths.shipped("recipes").glob("*/recipe.toml"))
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of a table within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_is_json_and_always_the_same() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_every_key_is_described() -> None:
    keys = [
        (table.get("title"), key, entry)
        for table in objects(SCHEMA)
        for key, entry in table.get("properties", {}).items()
    ]
    assert len(keys) > 50
    assert [(table, key) for table, key, entry in keys if not described(entry)] == []


def described(entry: dict[str, Any]) -> bool:
    """Whether there is a description: the key's own or, where that would only repeat it, the table's."""
    table = SCHEMA["$defs"].get(entry.get("$ref", "").removeprefix("#/$defs/"), {})
    return bool(entry.get("description") or table.get("description"))


def test_no_table_takes_unknown_keys() -> None:
    assert [table for table in objects(SCHEMA) if "properties" in table and table["additionalProperties"]] == []


def test_there_is_no_null_in_toml() -> None:
    assert '"null"' not in json.dumps(json_schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_shipped_recipes_are_valid(file: Path) -> None:
    VALIDATOR.validate(tomllib.loads(file.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("[source]", "[[source]]"),
        GOOD.replace('source = "logo.svg"', "directory = true"),
        GOOD.replace("http = { port = 80, ", "tcp = { port = 80 }\n#"),
    ],
)
def test_good_recipes_are_valid(text: str) -> None:
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("summary", "sumary"),
        ('type = "build"', 'type = "biuld"'),
        ('"/usr/bin/server"\n', '"server"\n'),
        ("memory_mib = 32", 'memory_mib = "32"'),
        ("port = 80", "port = 0"),
        ('source = "logo.svg"', ""),
        ('source = "logo.svg"', 'source = "logo.svg"\ntext = ""'),
        ("[ready]", "[ready]\nexit = 0"),
        ("[machine]", '[root]\nformat = "ext4"\n[machine]'),
        ("[machine]", "[kernel]\nname = 3\n[machine]"),
        ('title = "Hello"', '"a b" = 1'),
    ],
)
def test_bad_recipes_are_not(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ValidationError):
        VALIDATOR.validate(tomllib.loads(GOOD.replace(old, new, 1)))
