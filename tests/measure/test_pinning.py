"""Machines are kept to the processors that they are given, with all their threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure.rounds import pinnable
from imagebuilder.recipe.model import Ready

from .images import Make

READY = Ready(console="^here I am")
ASKING = """\
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from imagebuilder.measure.rounds import pinnable
from imagebuilder.measure.host import host
print(pinnable(1), host().cores)
"""


@pytest.mark.parametrize(
    ("allowed", "cpus", "pinned"),
    [
        ([0], 1, ()),
        ([0, 1], 1, ()),
        ([0, 1, 2], 1, (1, 2)),
        ([3, 0, 8, 5], 1, (5, 8)),
        ([0, 1, 2, 3], 2, (1, 2, 3)),
        ([0, 1, 2, 3], 4, ()),
    ],
)
def test_machines_are_pinned_where_a_processor_is_left_for_us(
    allowed: list[int], cpus: int, pinned: tuple[int, ...]
) -> None:
    assert pinnable(cpus, allowed) == pinned


@pytest.mark.tools
def test_what_we_may_use_counts_and_not_what_there_is() -> None:
    one = str(max(os.sched_getaffinity(0)))
    told = subprocess.run([sys.executable, "-c", ASKING, one], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["()", "1"]


@pytest.mark.vm
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one processor, all is pinned")
async def test_every_thread_stays_there(make: Make) -> None:
    spec = spec_of(make(0, 0), accelerator=Accelerator.TCG)
    ours = os.sched_getaffinity(0)
    for wanted in ({min(ours)}, {max(ours)}, ours):
        async with Instance.start(spec, Launch(host_cpus=tuple(wanted))) as instance:
            await instance.wait_ready(READY)
            threads = [int(task.name) for task in Path(f"/proc/{instance.pid}/task").iterdir()]
            assert len(threads) > 1  # one runs the guest
            assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset(wanted)}
    assert os.sched_getaffinity(0) == ours
