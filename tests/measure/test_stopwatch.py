"""Our figure beside a stopwatch that is not ours, in turn: what measuring costs, and whether the figure is right."""

import asyncio
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.events import silent
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure.startup import boot_once
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

STOPWATCH = Path(__file__).with_name("stopwatch.py")
ROUNDS = 15
# The stopwatch's machine has no channel, and a shared machine has its weather: the medians of pairs agree to this.
AGREE = 1.25


@pytest.mark.vm
@pytest.mark.slow
def test_the_figure_is_that_of_another_stopwatch(tmp_path: Path) -> None:
    bundle = build(load("hello"), tmp_path, store=Store(cache_dir()), say=silent)
    spec = spec_of(bundle, accelerator=Accelerator.TCG)
    line = argv(with_ports(spec), wiring=None)
    ready = bundle.ready
    ratios = []
    for _ in range(ROUNDS):
        ours_ms = asyncio.run(boot_once(spec, ready)).start.ready_ns / 1e6
        told = subprocess.run(
            [sys.executable, STOPWATCH, "hello, world", *line], check=True, capture_output=True, text=True, timeout=300
        )
        ratios.append(ours_ms / float(told.stdout))
    ratio = statistics.median(ratios)
    print(f"ours / theirs: {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    assert 1 / AGREE < ratio < AGREE
