"""Whether the figures of a report fit together: parts and their whole, signs, and one figure that stands in two places.
Written against docs/reports.md, not against the code that makes them."""

from collections.abc import Iterator
from math import isclose
from statistics import median
from typing import Any

ROUNDED = 0.002  # what rounding to three decimals makes of a sum of two, or of a ratio
SIGNED = {"difference"}

Json = Any


def contradictions(report: Json) -> list[str]:
    """Each in a few words; none in a report that is right."""
    return [
        *_signs(report, "report"),
        *_summaries(report, "report"),
        *(c for i in report["images"] for c in _image(i, report)),
    ]


def _signs(value: Json, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from () if key in SIGNED else _signs(each, f"{where}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _signs(each, f"{where}.{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        yield f"{where} is {value}"


def _summaries(value: Json, where: str) -> Iterator[str]:
    """Every summary is one of its samples."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _summaries(each, f"{where}.{index}")
    if not isinstance(value, dict):
        return
    if "samples" in value:
        samples = value["samples"]
        said = (
            value["min"],
            value["max"],
            value["p95"] in samples,
            isclose(value["median"], median(samples), abs_tol=0.001),
        )
        if said != (min(samples), max(samples), True, True):
            yield f"{where} is not what its samples come to"
        if value.get("ci95") and not value["ci95"][0] <= value["median"] <= value["ci95"][1]:
            yield f"{where}: the median is outside of its interval"
    for key, each in value.items():
        yield from _summaries(each, f"{where}.{key}")


def _image(image: Json, report: Json) -> Iterator[str]:
    parts = {"startup": _startup, "memory": _memory, "density": _density}
    for key, check in parts.items():
        yield from (f"{image['name']}: {said}" for said in (check(image) if image[key] else ()))
    yield from (f"{image['name']}: {said}" for said in (*_size(image), *_promises(image), *_compared(image, report)))


def _startup(image: Json) -> Iterator[str]:
    startup = image["startup"]
    ready, floors, phases = startup["ready_ms"]["samples"], startup["floors"]["samples"], startup["phases_ms"]
    for one, floor, times in zip(ready, startup["floor_ms"]["samples"], floors, strict=True):
        if not isclose(one / floor, times, rel_tol=ROUNDED):
            yield f"{one} ms are not {times} times {floor} ms"
    known = [each["samples"] for each in phases.values() if each]
    for run, one in enumerate(ready):
        total = sum(each[run] for each in known)
        if not isclose(total, one, abs_tol=0.01):
            yield f"the phases come to {total} of {one} ms"
    for key in ("measuring", "measuring_cpu"):
        if startup[key]:
            yield from _ratio(startup[key])


def _memory(image: Json) -> Iterator[str]:
    memory, given = image["memory"], image["machine"]["memory_mib"] << 20
    kinds, host = dict(memory["guest_bytes"] or {}), memory["host_bytes"]
    twice = kinds.pop("counted_twice", 0)
    if kinds and sum(kinds.values()) - twice != given:
        yield f"the kinds of the guest's memory come to {sum(kinds.values())} less {twice}, and it has {given}"
    if memory["guest_used_bytes"] is not None and memory["guest_used_bytes"] > given:
        yield "more is used in the guest than it has"
    if host and host["pss"] != memory["host_pss_bytes"]:
        yield f"pss is {host['pss']} and {memory['host_pss_bytes']}"
    if host and not host["private"] <= host["pss"] <= host["rss"]:
        yield f"sizes of QEMU that cannot be: {host}"


def _density(image: Json) -> Iterator[str]:
    density = image["density"]
    if not sum(density["own_bytes"]["samples"]) <= density["pss_bytes"] <= density["host_bytes"]:
        yield f"clones have more of their own than all together: {density}"
    if density["host_bytes"] > 1.1 * density["pss_bytes"]:
        yield f"the host gave {density['host_bytes']}, and all together take {density['pss_bytes']}"
    if not density["answer_ms"]["max"] <= density["all_ms"] + 0.001:
        yield "one took longer than all"
    if len(density["answer_ms"]["samples"]) != density["answered"]:
        yield "not every answer was counted"


def _size(image: Json) -> Iterator[str]:
    if image["parts"] and sum(image["parts"].values()) != image["bytes"]:
        yield f"the parts come to {sum(image['parts'].values())} of {image['bytes']} bytes"


def _promises(image: Json) -> Iterator[str]:
    memory, startup = image["memory"] or {}, image["startup"] or {}
    known = {
        "image_bytes": image["bytes"],
        "guest_used_bytes": memory.get("guest_used_bytes"),
        "host_pss_bytes": memory.get("host_pss_bytes"),
        "startup_floors": (startup.get("floors") or {}).get("median"),
        "instructions": (startup.get("instructions") or {}).get("median"),
    }
    for row in image["budget"]:
        if row["key"] in known and row["value"] != known[row["key"]]:
            yield f"{row['key']} is {row['value']} in its promise, and {known[row['key']]}"
        if row["holds"] != (row["value"] is not None and row["value"] <= row["limit"]):
            yield f"{row['key']}: kept or not is not what its figures say"


def _compared(image: Json, report: Json) -> Iterator[str]:
    found = image["comparison"]
    for change in found["changes"] if found else ():
        yield from _ratio(change)
    beside = [each for each in report["images"] if found and found["paired"] and each["name"] == found["reference"]]
    for other in beside:
        first, these, those = found["changes"][0], image["startup"]["ready_ms"], other["startup"]["ready_ms"]
        ratio = median(one / two for one, two in zip(these["samples"], those["samples"], strict=True))
        if not isclose(first["ratio"], ratio, abs_tol=0.001):
            yield f"the rounds' ratios come to {ratio}, and not to {first['ratio']}"
        if not isclose(first["difference"], these["median"] - those["median"], abs_tol=ROUNDED):
            yield "the difference is not that of the medians"


def _ratio(change: Json) -> Iterator[str]:
    if not change["low"] <= change["ratio"] <= change["high"]:
        yield f"{change['what']}: {change['ratio']} is outside of its interval"
    if (change["verdict"] == "slower" and change["low"] <= 1) or (
        change["verdict"] == "faster" and change["high"] >= 1
    ):
        yield f"{change['what']}: {change['verdict']}, with 1 in its interval"
