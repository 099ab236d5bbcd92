"""The report: its exact document, both ways, its JSON Schema, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure import report
from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.density import Density, Resource
from imagebuilder.measure.host import Host
from imagebuilder.measure.report import (
    Check,
    ImageReport,
    MachineShape,
    Memory,
    Parts,
    Report,
    Startup,
    json_schema,
    load,
    parse,
)
from imagebuilder.measure.statistics import Summary

HOST = Host("tcg", "7.2.22", "A processor", 2, "Linux 6.1.0", "0.1.0")
MEASURED = ImageReport(
    name="nginx",
    version="1.22",
    digest="ab12",
    kernel="micro",
    root="erofs",
    machine=MachineShape(type="microvm", memory_mib=32, cpus=1),
    bytes=5_000_000,
    parts=Parts(kernel=1_500_000, root=3_490_000, rest=10_000),
    startup=Startup(
        floor_ms=Summary.of([40, 42]),
        ready_ms=Summary.of([600, 610]),
        phases_ms={"qmp": Summary.of([40, 42]), "kernel": None},
    ),
    memory=Memory(host_pss_bytes=60_000_000, guest_used_bytes=None, minimum_bytes=None),
    checks=(Check(name="builds", holds=True), Check(name="gets_ready", holds=True)),
    budget=(BudgetRow("image_bytes", 6_000_000, 5_000_000, True),),
)
FAILED = ImageReport(
    name="redis",
    checks=(Check(name="builds", holds=False, message="no such package"), Check(name="boots", holds=None)),
    budget=(BudgetRow("image_bytes", 6_000_000, None, False),),
)
REPORT = Report(schema="imagebuilder.report/1", host=HOST, images=(MEASURED, FAILED))


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(REPORT.to_bytes())
    return loaded


def test_the_names_that_others_script_against() -> None:
    found = document()
    assert found["schema"] == "imagebuilder.report/1"
    assert {"accelerator", "qemu", "cpu"} <= found["host"].keys()
    nginx, redis = found["images"]
    assert {"name", "digest", "bytes", "startup", "memory", "budget"} <= nginx.keys()
    assert {"floor_ms", "ready_ms", "phases_ms"} <= nginx["startup"].keys()
    ready = {"median": 605, "p95": 610, "min": 600, "max": 610, "samples": [600, 610]}
    assert nginx["startup"]["ready_ms"] == {**ready, "ci95": None}
    named = {"host_pss_bytes": 60_000_000, "guest_used_bytes": None, "minimum_bytes": None}
    assert named.items() <= nginx["memory"].items()
    assert nginx["budget"] == [{"key": "image_bytes", "limit": 6_000_000, "value": 5_000_000, "holds": True}]
    assert redis["bytes"] is redis["startup"] is redis["memory"] is None
    assert redis["budget"] == [{"key": "image_bytes", "limit": 6_000_000, "value": None, "holds": False}]


def test_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(REPORT.to_bytes())
    assert load(tmp_path / "report.json") == REPORT
    assert load(tmp_path / "report.json").to_bytes() == REPORT.to_bytes()


def test_it_says_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    made = report.of(HOST, [MEASURED])
    assert made.as_json()["made"] == "2026-01-01T00:00:00Z"
    assert made.to_bytes() == report.of(HOST, [MEASURED]).to_bytes()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    now = report.of(HOST, [MEASURED], pinned=(1,)).made
    assert now is not None and abs(now - datetime.now(UTC)) < timedelta(minutes=10)


@pytest.mark.parametrize("made", ["yesterday", "2026-01-01T00:00:00", 5.5])
def test_a_time_that_is_none_is_refused(made: Any) -> None:
    with pytest.raises(InputError, match="made"):
        parse({**document(), "made": made})


def test_a_document_of_an_earlier_version_is_read() -> None:
    older = document()
    for key in ("made", "pinned"):
        older.pop(key)
    for image in older["images"]:
        image.pop("command")
    for key in ("bare_ms", "measuring", "floors", "cpu_ms"):
        older["images"][0]["startup"].pop(key)
    assert parse(older) == REPORT


def test_the_limiting_resource_is_read_under_its_older_name_too() -> None:
    crowd = MEASURED.model_copy(update={"density": Density(None, 3, 2, Resource.MEMORY, "no further clone")})
    newer = Report(schema="imagebuilder.report/1", host=HOST, images=(crowd,)).as_json()
    older = json.loads(json.dumps(newer).replace('"limited_by"', '"gave"'))
    assert newer["images"][0]["density"]["limited_by"] == older["images"][0]["density"]["gave"] == "memory"
    assert parse(older).as_json() == newer
    jsonschema.validate(newer, json_schema())


def test_whole_numbers_stay_whole() -> None:
    assert b'"limit": 6000000,' in REPORT.to_bytes()


def test_the_schema_describes_it() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(document(), json_schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "imagebuilder.report/2"),
        (("host", "cores"), "two"),
        (("images", 0, "startup", "ready_ms"), 605),
        (("images", 0, "memory", "minimum_bytes"), "small"),
        (("images", 0, "unknown"), 1),
    ],
)
def test_the_schema_and_the_loader_refuse_the_same(path: tuple[Any, ...], value: Any) -> None:
    changed = document()
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, json_schema())
    with pytest.raises(InputError) as caught:
        parse(changed)
    assert "make" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b'{"schema": null}', b'{"schema": "imagebuilder.report/2"}']
)
def test_what_is_no_report_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_holds_only_when_nothing_falls_short() -> None:
    assert MEASURED.holds and not FAILED.holds and not REPORT.holds
    assert not MEASURED.model_copy(update={"budget": (BudgetRow("memory_mib", 1, 2, False),)}).holds
    assert not MEASURED.model_copy(update={"checks": (Check(name="ready", holds=None),)}).holds
