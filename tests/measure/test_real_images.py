"""What is measured of images that really boot; figures are only held against other figures of the same run."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from imagebuilder.errors import GuestFailed, NotReady, RecipeError
from imagebuilder.events import Begun, Ended, Event, Progress
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure import memory, startup
from imagebuilder.measure.footprint import guest_parts
from imagebuilder.measure.host import host
from imagebuilder.measure.image import ImageOptions, measure, not_built
from imagebuilder.measure.phases import PHASES, clock_step_ms
from imagebuilder.measure.report import Report, json_schema
from imagebuilder.recipe.model import Budget, Ready
from imagebuilder.store import Store

from .images import Make

pytestmark = pytest.mark.vm
TCG = Accelerator.TCG
READY = Ready(console="^here I am")
PAUSE_MS = 400
MORE_MIB = 8


async def test_phases_of_a_start(make: Make) -> None:
    quick = (await startup.boot_once(spec_of(make(0, 0), accelerator=TCG), READY)).start
    slow = (await startup.boot_once(spec_of(make(0, PAUSE_MS), accelerator=TCG), READY)).start
    for start in (quick, slow):
        phases = {name: phase for name, phase in start.phases_ms.items() if phase is not None}
        assert phases.keys() == PHASES.keys() - {"answer"}  # no port was asked
        assert sum(phases.values()) == pytest.approx(start.ready_ns / 1e6)
        assert start.clock_step_ns
    assert (slow.phases_ms["application"] or 0) >= PAUSE_MS


async def test_a_guest_that_has_no_good_clock_is_told_apart(make: Make) -> None:
    spec = spec_of(make(0, 0), accelerator=TCG)
    start = (await startup.boot_once(replace(spec, cmdline=f"{spec.cmdline} tsc=unstable"), READY)).start
    assert clock_step_ms([start]) == pytest.approx(10)  # CONFIG_HZ_100
    phases = [phase for phase in start.phases_ms.values() if phase is not None]
    assert sum(phases) == pytest.approx(start.ready_ns / 1e6)


async def test_starts_in_turn_with_floors(make: Make) -> None:
    said: list[Event] = []
    starts = await startup.measure(spec_of(make(0, 0), accelerator=TCG), READY, runs=3, say=said.append)
    found = starts.startup
    assert len(found.floor_ms.samples) == len(found.ready_ms.samples) == 3
    assert found.floor_ms.max < found.ready_ms.min
    assert found.phases_ms.keys() == PHASES.keys()
    assert [type(event) for event in said] == [Begun, *[Progress] * 3, Ended]


async def test_memory_that_the_application_touches_is_seen_on_both_sides(make: Make) -> None:
    less, more = [await startup.boot_once(spec_of(make(mib, 0), accelerator=TCG), READY) for mib in (0, MORE_MIB)]
    assert less.guest and more.guest and less.host and more.host
    touched = MORE_MIB << 20
    assert more.guest.used_bytes - less.guest.used_bytes == pytest.approx(touched, rel=0.25)
    assert more.host.own_bytes - less.host.own_bytes > touched / 2  # of pages that others map, a share is counted
    assert less.guest.total_bytes < 48 << 20
    before, after = (guest_parts(boot.guest, memory_bytes=48 << 20) for boot in (less, more) if boot.guest)
    assert before and after
    assert sum(before.values()) == sum(after.values()) == 48 << 20
    assert min(*before.values(), *after.values()) >= 0
    assert after["anonymous"] - before["anonymous"] == pytest.approx(touched, rel=0.1)


async def test_a_busy_host_does_not_make_an_image_too_large(make: Make) -> None:
    """The time taken when the host was idle is over before this machine can be ready: it is taken again, beside it."""
    spec = spec_of(make(0, 0), accelerator=TCG)
    assert await memory.answers(spec, READY, memory_mib=40, usual_s=0.01)
    never = Ready(console="^nobody says this", timeout_s=2)
    assert not await memory.answers(spec, never, memory_mib=40, usual_s=0.01)


@pytest.mark.slow
async def test_the_least_memory_grows_with_the_application(make: Make) -> None:
    least = []
    for mib in (0, MORE_MIB):
        spec = spec_of(make(mib, 0), accelerator=TCG)
        usual = await startup.boot_once(spec, READY)
        found = await memory.minimum_mib(spec, READY, usual_s=2 * usual.start.ready_ns / 1e9)
        assert found is not None
        least.append(found)
        assert not await memory.answers(spec, READY, memory_mib=found - 2, usual_s=2 * usual.start.ready_ns / 1e9)
    assert least[1] - least[0] == pytest.approx(MORE_MIB, abs=2)


async def test_a_whole_report(make: Make, tmp_path: Path) -> None:
    promised = {
        "image_bytes": 10**9,
        "memory_mib": 47,
        "startup_floors": 1,
        "guest_used_bytes": 48 << 20,
        "host_pss_bytes": 1,
    }
    found = await measure(
        make(0, 0, budget=promised), ImageOptions(TCG, runs=2, initcalls=True), store=Store(tmp_path / "cache")
    )
    report = Report(schema="imagebuilder.report/1", host=host("tcg"), images=(found,))
    jsonschema.validate(report.as_json(), json_schema())
    assert [check.name for check in found.checks if check.holds] == ["builds", "boots", "gets_ready"]
    broken = [row.key for row in found.budget if not row.holds]
    assert len(found.budget) == len(promised) and broken == ["startup_floors", "host_pss_bytes"]
    assert {row.key: row.value for row in found.budget}["memory_mib"] == 47
    assert found.memory and found.memory.minimum_bytes is None  # nobody looked for it
    assert found.memory.guest_bytes and sum(found.memory.guest_bytes.values()) == 48 << 20
    assert found.memory.host_bytes
    host_memory = found.memory.host_bytes
    assert host_memory["floor_pss"] < host_memory["pss"] <= host_memory["rss"]
    assert found.startup and found.startup.cpu_ms and found.startup.floors
    assert found.startup.initcalls_ms
    assert found.startup.cpu_ms.min > 0 and found.startup.floors.min > 1
    assert found.bytes and found.parts
    assert found.parts.kernel + found.parts.root + found.parts.rest == pytest.approx(found.bytes, rel=0.01)


async def test_too_little_memory_is_no_kept_promise(make: Make, tmp_path: Path) -> None:
    found = await measure(
        make(0, 0, budget={"memory_mib": 6}), ImageOptions(TCG, runs=1), store=Store(tmp_path / "cache")
    )
    (row,) = found.budget
    assert (row.value, row.holds) == (None, False)


async def test_an_application_that_fails_stands_in_the_report(make: Make, tmp_path: Path) -> None:
    promised = {"image_bytes": 10**9, "startup_floors": 50}
    options = ImageOptions(TCG, runs=2, artefacts=tmp_path / "artefacts")
    found = await measure(make(0, 0, 3, budget=promised), options, store=Store(tmp_path / "cache"))
    ready = found.checks[-1]
    assert ready.name == "gets_ready" and ready.holds is False
    assert ready.message is not None and "exited with status 3" in ready.message
    assert (found.startup, found.memory) == (None, None)
    assert [(row.key, row.value, row.holds) for row in found.budget] == [
        ("image_bytes", found.bytes, True),
        ("startup_floors", None, False),
    ]
    assert "status 3" in (tmp_path / "artefacts" / "console.log").read_text()
    assert not found.holds


async def test_one_that_is_late_is_not_ready(make: Make) -> None:
    spec = spec_of(make(0, 60_000), accelerator=TCG)
    with pytest.raises(NotReady, match="was not ready within"):
        await startup.boot_once(spec, READY, timeout_s=3)
    with pytest.raises(GuestFailed):
        await startup.boot_once(spec_of(make(0, 0, 0), accelerator=TCG), READY)


def test_an_image_that_is_not_built() -> None:
    found = not_built("redis", RecipeError(()), budget=Budget(image_bytes=5))
    assert [check.holds for check in found.checks] == [False, None, None]
    assert not found.holds and not found.budget[0].holds
