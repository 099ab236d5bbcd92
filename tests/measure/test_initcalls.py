"""What kernels print of their initcalls, and one that really does."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.errors import MachineError
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure.initcalls import initcalls, known, parse, symbols
from imagebuilder.recipe.model import Ready

from .images import Make

WITH_NAMES = """\
[    0.103999] calling  init_hw_breakpoint+0x0/0x1b0 @ 1
[    0.104012] initcall init_hw_breakpoint+0x0/0x1b0 returned 0 after 12 usecs
[    0.200000] probe of serial8250 returned 0 after 9000 usecs
[    0.204012] initcall virtio_net_driver_init+0x0/0xa0 [virtio_net] returned 0 after 2500 usecs
[    0.301234] initcall acpi_init+0x0/0x500 returned -19 after 0 usecs
[    0.401234] initcall early_one+0x0/0x5 returned 0 with preemption imbalance after 7 usecs
"""
BARE = """\
[    5.996299] initcall 0xffffffff8053146b returned 0 after 10000 usecs\r
[    5.997801] initcall 0xffffffff80536085 returned 0 after 0 usecs\r
"""


def test_names_and_times() -> None:
    found = parse(WITH_NAMES)
    assert list(found.items()) == [
        ("virtio_net_driver_init", 2.5),
        ("init_hw_breakpoint", 0.012),
        ("early_one", 0.007),
        ("acpi_init", 0),
    ]


def test_a_console_that_lies() -> None:
    assert parse(f"initcall a returned 0 after {'9' * 400} usecs") == {}
    began_s = time.process_time()
    assert parse("initcall a returned " * 25_000) == {}
    assert time.process_time() - began_s < 5


def test_addresses_stay_where_nobody_knows_them(tmp_path: Path) -> None:
    assert parse(BARE) == {"0xffffffff8053146b": 10, "0xffffffff80536085": 0}
    names = symbols("ffffffff8053146b t init_one\nffffffff80536085 D data\nffffffff80200000 T _text\n")
    assert names == {"0xffffffff8053146b": "init_one", "0xffffffff80200000": "_text"}
    assert parse(BARE, names=names) == {"init_one": 10, "0xffffffff80536085": 0}
    another = tmp_path / "vmlinux"
    another.write_bytes(b"not ours")
    assert known(another) == known(None) == {}


def test_nothing_told() -> None:
    assert parse("hello\n") == {}


@pytest.mark.vm
async def test_a_real_start(make: Make) -> None:
    spec, ready = spec_of(make(0, 0), accelerator=Accelerator.TCG), Ready(console="^here I am")
    found = await initcalls(spec, ready)
    assert len(found) > 50
    assert "virtio_net_driver_init" in found  # micro prints addresses: the names are those kept beside it
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) > 0


@pytest.mark.vm
async def test_a_kernel_without_a_console_does_not_tell(make: Make) -> None:
    spec = replace(spec_of(make(0, 0, 0), accelerator=Accelerator.TCG), cmdline="console=none panic=-1 reboot=t")
    with pytest.raises(MachineError, match="does not tell of its initcalls"):
        await initcalls(spec, Ready(exit=0, timeout_s=120))
