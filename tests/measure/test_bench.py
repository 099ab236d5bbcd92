"""Starts in turn, and counted instructions, of images that really boot; and what a report says of both."""

import os
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.errors import GuestFailed, NotReady
from imagebuilder.machine.command_line import Wiring, argv
from imagebuilder.machine.spec import PROGRAM, Accelerator, Disk, MachineSpec, spec_of
from imagebuilder.measure import describe, image, instructions, rounds, subject
from imagebuilder.measure.change import Verdict
from imagebuilder.measure.compare import paired
from imagebuilder.measure.report import Startup
from imagebuilder.measure.rounds import Schedule
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store

from .busy import busy
from .images import Make

TCG = Accelerator.TCG
READY = Ready(console="^here I am")
MORE_MIB = 8
GETPIDS = 53_000  # of 190 instructions each


def started(*samples: float) -> Startup:
    """A start with these samples."""
    ready = Summary.of(samples).with_interval()
    return Startup(floor_ms=ready, ready_ms=ready, phases_ms={})


def test_a_warning_says_when_nothing_can_be_concluded() -> None:
    assert describe.warnings(started(500, 510, 505, 495, 500)) == []
    (wide,) = describe.warnings(started(500, 900, 400, 1500, 700))
    assert "scatters too much" in wide
    (few,) = describe.warnings(started(500, 500))
    assert "2 starts" in few


@pytest.mark.vm
async def test_two_images_and_the_floor_in_turn(make: Make, tmp_path: Path) -> None:
    processor = max(os.sched_getaffinity(0))
    subjects = [subject.of_bundle(make(mib, 0), TCG) for mib in (0, MORE_MIB)]
    less, more = await rounds.measure(subjects, Schedule(runs=3, host_cpus=(processor,)))
    assert less.subject.launch.host_cpus == (processor,)
    for taken in (less, more):
        found = taken.startup
        assert found.floors is not None and found.cpu_ms is not None
        assert len(found.ready_ms.samples) == len(found.floors.samples) == len(found.cpu_ms.samples) == 3
        assert found.ready_ms.ci95 is not None and found.floors.ci95 is not None
        # On one processor, QEMU's work takes at least the time that it takes of it.
        assert found.cpu_ms.min > 0
    assert less.startup.floor_ms.samples == more.startup.floor_ms.samples
    described = describe.describe(more, store=Store(tmp_path))
    assert described.digest and described.startup
    assert (described.bytes, described.parts) == (None, None) and described.contents_bytes  # nobody asked for the size
    assert paired(more.startup, less.startup, reference="less").verdict is Verdict.UNDECIDED  # three rounds are too few


@pytest.mark.vm
async def test_a_bare_start_that_fails_costs_no_figure(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QEMU that ends at once where nobody talks to it by a socket."""
    program = tmp_path / PROGRAM
    program.write_text(f'#!/bin/sh\ncase "$*" in *-chardev*) exec {which(PROGRAM)} "$@";; esac\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (taken,) = await rounds.measure([subject.of_bundle(make(0, 0), TCG)], Schedule(runs=3, bare=True))
    described = describe.describe(taken, store=Store(tmp_path / "cache"))
    assert described.startup is not None and len(described.startup.ready_ms.samples) == 3
    assert described.startup.bare_ms is None and described.startup.measuring is None
    assert any("what measuring costs is not known" in warning for warning in described.warnings)


@pytest.mark.vm
async def test_somebody_elses_machine_has_no_phases_of_the_guest(make: Make, tmp_path: Path) -> None:
    bundle = make(0, 0)
    text = f"""
        name = "theirs"
        machine = {{ type = "microvm", memory_mib = 48, acpi = false }}
        boot = {{ kernel = "{bundle.kernel.absolute()}", initrd = "{bundle.root.absolute()}",
                 cmdline = "{bundle.image.cmdline} {bundle.image.boot.cmdline_tcg}" }}
        ready = {{ console = "^here I am" }}
    """.replace(",\n                ", ", ")
    (tmp_path / "theirs.toml").write_text(text)
    (taken,) = await rounds.measure([subject.of_file(tmp_path / "theirs.toml", TCG)], Schedule(runs=1))
    described = describe.describe(taken, store=Store(tmp_path / "cache"))
    assert described.startup is not None
    assert described.startup.phases_ms["qmp"] is not None
    assert described.startup.phases_ms["kernel"] is None
    assert described.digest is None and described.bytes is None
    assert described.budget == ()


def test_a_start_that_is_counted_has_nothing_random() -> None:
    disks = (Disk(path=Path("/k/root.erofs")), Disk(size_mib=1))
    spec = MachineSpec(MachineType.MICROVM, Accelerator.KVM, kernel=Path("/k"), cmdline="quiet", cpus=2, disks=disks)
    found = instructions.counted(spec, at_once=True)
    assert (found.accelerator, found.cpus, found.cmdline) == (TCG, 1, "quiet norandmaps")
    assert [disk.aio for disk in found.disks] == ["io_uring", None]
    words = argv(found, wiring=Wiring(7, 8, 9, (10,)))
    assert "if=none,id=disk0,format=raw,readonly=on,aio=io_uring,file=/k/root.erofs" in words
    assert instructions.counted(spec, at_once=False).disks == disks
    foreign = replace(spec, foreign=True)
    assert instructions.counted(foreign, at_once=True).cmdline == "quiet"


@pytest.mark.vm
async def test_instructions_repeat_and_show_more_work(make: Make) -> None:
    less, more = [spec_of(make(mib, 0), accelerator=TCG) for mib in (0, MORE_MIB)]
    counts = sorted([await instructions.count(less, READY) for _ in range(3)])
    assert counts[1] - counts[0] < 0.001 * counts[0]  # one in three may have met a timer more
    assert await instructions.count(more, READY) > 1.02 * max(counts)


@pytest.mark.vm
async def test_ten_million_instructions_in_init_are_seen(make: Make) -> None:
    """Beside two processes that keep the host busy: counts do not feel them."""
    loop = f"for (int n = 0; n < {GETPIDS}; n++) getpid();"
    with busy():
        specs = [spec_of(make(0, 0, init_too=code), accelerator=TCG) for code in ("", loop)]
        before, after = [await instructions.measure(spec, READY) for spec in specs]
    assert before.max - before.min < 0.005 * before.median
    assert after.max - after.min < 0.005 * after.median
    assert after.median - before.median == pytest.approx(10e6, rel=0.3)
    this, that = (started(500, 500).model_copy(update={"instructions": count}) for count in (after, before))
    assert paired(this, that, reference="before").verdict is Verdict.SLOWER


@pytest.mark.vm
async def test_a_promise_of_instructions_is_counted(make: Make, tmp_path: Path) -> None:
    bundle = make(0, 0, budget={"instructions": 1})
    found = await image.measure(bundle, image.ImageOptions(TCG, runs=1), store=Store(tmp_path))
    assert found.startup is not None and found.startup.instructions is not None
    (row,) = found.budget
    assert not row.holds and row.value == round(found.startup.instructions.median)


@pytest.mark.vm
async def test_what_does_not_get_ready_cannot_be_counted(make: Make) -> None:
    with pytest.raises(GuestFailed):
        await instructions.count(spec_of(make(0, 0, 3), accelerator=TCG), READY)
    with pytest.raises(NotReady):
        await instructions.count(spec_of(make(0, 0), accelerator=TCG), Ready(console="^never", timeout_s=1))


@pytest.mark.vm
async def test_a_failing_start_names_the_folder_of_its_logs(make: Make, tmp_path: Path) -> None:
    failing = subject.of_bundle(make(0, 0, 3), TCG)
    with pytest.raises(GuestFailed) as raised:
        await rounds.measure([failing], Schedule(runs=1, artefacts=tmp_path))
    assert str(tmp_path / failing.name) in (raised.value.hint or "")
    assert (tmp_path / failing.name / "command.txt").read_text().startswith("qemu-system-x86_64")


@pytest.mark.vm
@pytest.mark.slow
async def test_a_slower_application_is_found_there_and_the_same_one_is_not(make: Make) -> None:
    quick, again, slow = (subject.of_bundle(make(0, wait_ms), TCG) for wait_ms in (0, 0, 500))
    first, second, third = await rounds.measure([quick, again, slow], Schedule())
    assert not paired(second.startup, first.startup, reference="itself").verdict.differs
    found = paired(third.startup, first.startup, reference="quick")
    said = {change.what: change.verdict for change in found.changes}
    assert found.verdict is said["application"] is Verdict.SLOWER
    assert not said["kernel"].differs and not said["qmp"].differs
