"""How a machine ends: init finds out by itself whether the kernel can switch it off, whatever started the machine."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from imagebuilder import kernel as kernels
from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.events import silent
from imagebuilder.filesystems import cpio
from imagebuilder.platforms.linux.build import INIT
from imagebuilder.store import Store
from imagebuilder.tree import Tree

from .conftest import HERE, Make
from .guest_boot import NEEDS, Wire

OFF, RESET = "guest-shutdown", "guest-reset"  # what QEMU says of a power-off, and of a reset with -no-reboot
Q35, MICROVM = "q35,usb=off", "microvm,acpi=off"
ALWAYS = ("-accel", "tcg", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-S")
LIMIT_S = 300.0


@pytest.fixture(scope="module")
def distribution(store: Store) -> Path:
    """A kernel that is shared by machines of all kinds, with and without ACPI."""
    return kernels.provide(kernels.load_definition("debian-cloud"), store=store, say=silent).image


def end_of(kernel: Path, tree: Tree, words: str, machine: Sequence[str], folder: Path) -> str:
    """The reason that QEMU gives for the end of a machine which has no word for init."""
    with (folder / "root.cpio").open("wb") as stream:
        cpio.write(tree, stream, epoch_s=0)
    append = f"console=ttyS0 quiet panic=-1 {words}"
    with closing(Wire(folder, "qmp")) as monitor, ThreadPoolExecutor() as pool:
        qmp = ("-chardev", f"socket,id=qmp,path={monitor.path}", "-mon", "chardev=qmp,mode=control")
        boot = ("-kernel", str(kernel), "-initrd", str(folder / "root.cpio"), "-append", append)
        ran = pool.submit(process.run, [TARGET.qemu, *machine, *ALWAYS, *qmp, *boot], timeout_s=LIMIT_S)
        monitor.until("QMP")
        for command in ("qmp_capabilities", "cont"):
            monitor.say(json.dumps({"execute": command}).encode() + b"\n")
        assert "init: the application exited with status 7" in ran.result().text
    events = [json.loads(line) for line in monitor.text.splitlines()]
    (reason,) = (event["data"]["reason"] for event in events if event.get("event") == "SHUTDOWN")
    return str(reason)


class TestBoots:
    """Real machines."""

    pytestmark = NEEDS

    def test_our_kernel_on_a_microvm_resets(self, kernel: Path, image: Make, tmp_path: Path) -> None:
        assert end_of(kernel, image("exit=7"), "reboot=t", ("-M", MICROVM, "-m", "64"), tmp_path) == RESET

    @pytest.mark.network
    @pytest.mark.parametrize(
        ("machine", "words", "reason"),
        [
            (Q35, "", OFF),
            (Q35, "acpi=off", RESET),
            (MICROVM, "", RESET),
        ],
    )
    def test_a_shared_kernel_ends_each_as_it_can(
        self, distribution: Path, image: Make, tmp_path: Path, machine: str, words: str, reason: str
    ) -> None:
        assert end_of(distribution, image("exit=7"), words, ("-M", machine, "-m", "256"), tmp_path) == reason


@pytest.mark.tools
def test_a_table_is_read_to_its_end(tmp_path: Path) -> None:
    program = tmp_path / "soft_off"
    strict = ("-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    process.run(["gcc", "-std=c11", "-D_GNU_SOURCE", *strict, "-I", INIT.sources, "-o", program, HERE / "soft_off.c"])
    tables = {
        b"\x08_S5_\x12": "yes",
        b"x" * 1022 + b"_S5_": "yes",  # over the edge of what is read at once
        b"x" * 1024 + b"_S5_": "yes",
        b"__S_S5_": "yes",
        b"_S5" + b"x" * 2000 + b"_": "no",
        b"_S3__S4_": "no",
        b"": "no",
    }
    for number, table in enumerate(tables):
        (tmp_path / str(number)).write_bytes(table)
    names = [*map(str, range(len(tables))), "there is none"]
    said = process.run([program, *names], cwd=tmp_path).text.split()
    assert said == [*tables.values(), "no"]
