"""Reports to draw: one with all that a report can hold, and what differs from it."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.change import Change, Verdict
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.host import Host
from imagebuilder.measure.render.load_untrusted import UntrustedReport
from imagebuilder.measure.report import Check, ImageReport, MachineShape, Memory, Parts, Report, Startup
from imagebuilder.measure.statistics import Summary

HOST = Host("tcg", "7.2.22", "A processor", 2, "Linux 6.1.0", "0.1.0")
STARTUP = Startup(
    floor_ms=Summary.of([40, 42, 44]),
    ready_ms=replace(Summary.of([600, 610, 650]), ci95=(601.5, 648.25)),
    phases_ms={
        "qmp": Summary.of([40, 42, 45]),
        "kernel": Summary.of([410, 408, 450]),
        "init": Summary.of([50, 60, 55]),
        "application": Summary.of([100, 100, 100]),
    },
    floors=Summary.of([15, 14.52, 14.77]),
    cpu_ms=Summary.of([580, 585, 590]),
    instructions=Summary.of([98_000_000, 98_000_100, 98_000_050]),
    clock_step_ms=10,
    bare_ms=Summary.of([590, 600, 640]),
    measuring=Change("measuring", Verdict.UNDECIDED, 1.016, 0.997, 1.02, 10.0),
    measuring_cpu=Change("measuring_cpu", Verdict.UNDECIDED, 1.004, 0.999, 1.01, 2.0),
    initcalls_ms={f"call_{number}": 20.5 - number for number in range(20)},
)
FULL = ImageReport(
    name="nginx",
    version="1.22",
    digest="ab12cd34ef56ab12",
    kernel="micro",
    root="erofs",
    machine=MachineShape(type="microvm", memory_mib=48, cpus=1),
    command="qemu-system-x86_64 -M microvm -append 'quiet <b>'",
    bytes=5_000_000,
    parts=Parts(kernel=1_500_000, root=3_490_000, rest=10_000),
    startup=STARTUP,
    memory=Memory(
        host_pss_bytes=60_000_000,
        guest_used_bytes=7_600_000,
        minimum_bytes=11 << 20,
        guest_bytes={"kernel": 4_000_000, "page cache": 2_000_000, "application": 1_600_000, "free": 40_000_000},
        host_bytes={"rss": 70_000_000, "pss": 60_000_000, "private": 50_000_000, "floor_pss": 35_000_000},
    ),
    checks=(Check(name="builds", holds=True), Check(name="boots", holds=True), Check(name="gets_ready", holds=True)),
    budget=(
        BudgetRow("image_bytes", 6_000_000, 5_000_000, True),
        BudgetRow("startup_floors", 10, 14.77, False),
        BudgetRow("host_pss_bytes", 10, None, False),
    ),
    comparison=Comparison(
        reference="last week",
        paired=False,
        verdict=Verdict.SLOWER,
        why="another run on this host",
        changes=(
            Change("ready", Verdict.SLOWER, 1.082, 1.041, 1.123, 46.5),
            Change("kernel", Verdict.UNDECIDED, 0.99, 0.9, 1.05, -3.25),
        ),
    ),
    warnings=("The interval is wide.",),
)
BARE = ImageReport(name="bare", checks=(Check(name="builds", holds=False, message="no such package"),))


def given(*images: ImageReport, label: str = "r.json", made: datetime | None = None, **host: Any) -> UntrustedReport:
    """A report of some images; ``host`` is what differs in its host."""
    document = Report(schema="imagebuilder.report/1", host=replace(HOST, **host), images=images, pinned=(1,), made=made)
    return UntrustedReport(label, document)


def ready_after(*samples_ms: float) -> ImageReport:
    """The full image with other times to ready."""
    return FULL.model_copy(update={"startup": STARTUP.model_copy(update={"ready_ms": Summary.of(samples_ms)})})
