"""A machine that nobody here made: a memory tester out of Debian's archive, started and measured like an image."""

import asyncio
from pathlib import Path

import pytest

from imagebuilder.events import silent
from imagebuilder.machine.spec import Accelerator
from imagebuilder.measure import describe, rounds, subject
from imagebuilder.measure.rounds import Schedule
from imagebuilder.paths import cache_dir
from imagebuilder.sources import apt, deb
from imagebuilder.store import Store
from imagebuilder.tree import Blob

PACKAGE, PROGRAM = "memtest86+", "/boot/memtest86+x64.bin"
DESCRIPTION = """\
name = "memtest"
machine = { type = "q35", memory_mib = 64, network = false }
boot = { kernel = "memtest", cmdline = "console=ttyS0,115200" }
ready = { console = "Memtest86\\\\+", timeout_s = 300 }
"""


@pytest.mark.vm
@pytest.mark.network
def test_somebody_elses_program_stands_in_the_same_table(tmp_path: Path) -> None:
    store = Store(cache_dir())
    request = apt.PackageRequest("bookworm", (PACKAGE,), dependencies=False)
    packages = apt.resolve(request, store=store, say=silent)
    (path,) = apt.fetch("bookworm", packages, store=store, say=silent).values()
    (tmp_path / "memtest").write_bytes(deb.unpack(path, Blob.of_content)[PROGRAM].content.read())
    (tmp_path / "memtest.toml").write_text(DESCRIPTION)
    found = subject.of_file(tmp_path / "memtest.toml", Accelerator.TCG)
    (taken,) = asyncio.run(rounds.measure([found], Schedule(runs=1, bare=True)))
    described = describe.describe(taken, store=store)
    startup = described.startup
    assert startup is not None and startup.bare_ms is not None
    assert startup.phases_ms["qmp"] is not None and startup.phases_ms["kernel"] is None
    assert startup.floor_ms.max < startup.ready_ms.min
    assert described.command is not None and f"-kernel {tmp_path}/memtest" in described.command
    assert "ib." not in described.command
