"""A guest that is whole in other hands, its init too: whatever it sends, we keep little, and end it when we like."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import process
from imagebuilder.errors import NotReady
from imagebuilder.machine import artefacts
from imagebuilder.machine.console import HEAD_BYTES, TAIL_BYTES
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.reports import LINE_BYTES, MOST_LISTENS, MOST_ODD_LINES, MOST_PHASES, MOST_RANGES
from imagebuilder.recipe.model import Ready
from imagebuilder.tree import Blob, Tree, directory, file
from tests.guest.test_hostile import LONG, MOST_BYTES, SECONDS, Peak

from .machines import Makings, booting

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(process.find("musl-gcc") is None, reason="musl-gcc is not installed"),
]
HERE = Path(__file__).parent
NEVER = Ready(console=r"(this is|never)+ said$", timeout_s=60)
END_S = 120.0
ARTEFACTS_BYTES = 8 << 20  # a byte of the console that is no UTF-8 takes three


@pytest.mark.parametrize(
    "seconds", [SECONDS // 2, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(2 * LONG)])]
)
async def test_a_guest_whose_init_is_hostile(makings: Makings, tmp_path: Path, seconds: int) -> None:
    program = tmp_path / "init"
    process.run(["musl-gcc", "-static", "-O1", "-s", "-o", program, HERE / "hostile_init.c"])
    tree = Tree({"/init": file(Blob.at(program), mode=0o755), "/dev": directory(), "/proc": directory()})
    async with Instance.start(booting(makings, tree)) as instance:
        await instance.wait_started(300)
        ours, qemu = Peak(os.getpid()), Peak(instance.pid)
        limit = asyncio.create_task(instance.wait_ready(NEVER, seconds))
        answers = 0
        while not limit.done() or not reached(instance):
            ours.look()
            qemu.look()
            answers += await asked(instance)
        with pytest.raises(NotReady, match=f"not ready within {seconds} s"):
            limit.result()
        artefacts.write(instance, tmp_path / "artefacts")
        ours.look()
        begun_s, pid = time.monotonic(), instance.pid
        await instance.terminate(grace_s=5)
        assert time.monotonic() - begun_s < END_S and not Path(f"/proc/{pid}").exists()
    grown = [(each.most - each.first) / (1 << 20) for each in (ours, qemu)]
    print(
        f"{seconds} s, {answers} answers, {instance.terminal.total_bytes >> 20} MiB on the console: our process grew "
        f"by {grown[0]:.1f} MiB, QEMU by {grown[1]:.1f} MiB",
        flush=True,
    )
    check(instance)
    assert answers
    assert ours.most - ours.first < MOST_BYTES and qemu.most - qemu.first < MOST_BYTES
    assert sum(path.stat().st_size for path in (tmp_path / "artefacts").iterdir()) < ARTEFACTS_BYTES


async def asked(instance: Instance) -> int:
    """Ask init what may be asked of it; returns how much of that was answered within a moment."""
    channel = instance.channel
    told: list[asyncio.Future[Any]] = [channel.done(command) for command in ("pages", "sockets", "freeze")]
    told.append(channel.ask_memory())
    await asyncio.sleep(0.1)
    answered = sum(each.done() for each in told)
    for each in told:
        each.cancel()
    return answered


def reached(instance: Instance) -> bool:
    """Whether it has sent more of some things than are kept."""
    reports = instance.channel.reports
    return len(reports.phases) >= MOST_PHASES and len(reports.odd_lines) >= MOST_ODD_LINES


def check(instance: Instance) -> None:
    """What is kept of it is what docs/contracts.md allows."""
    reports = instance.channel.reports
    assert len(reports.phases) == MOST_PHASES and len(reports.odd_lines) == MOST_ODD_LINES
    assert max(map(len, reports.odd_lines)) <= LINE_BYTES
    assert sum(len(told.ranges) for told in reports.pages) <= MOST_RANGES and len(reports.listens) <= MOST_LISTENS
    assert len(instance.console.encode()) <= 3 * (HEAD_BYTES + 2 * TAIL_BYTES) + 100
