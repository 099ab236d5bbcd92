"""The ready-built micro in QEMU: it boots, and offers what ordinary applications take for granted."""

from pathlib import Path

import pytest

from imagebuilder import kernel, process
from imagebuilder.events import silent
from imagebuilder.formats import cpio
from imagebuilder.store import Store
from imagebuilder.tree import Tree, directory, file

pytestmark = pytest.mark.vm

HERE = Path(__file__).parent
LIMIT_S = 120  # so that a hanging guest ends; nothing is measured by it


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> kernel.Kernel:
    store = Store(tmp_path_factory.mktemp("store"))
    return kernel.provide(kernel.load_definition("micro"), store=store, say=silent)


def boot(micro: kernel.Kernel, program: Path, *, memory_mib: int, cpu: str = "max", words: str = "") -> str:
    """What the console says of a machine whose PID 1 is ``program``."""
    root = program.with_suffix(".cpio")
    with root.open("wb") as stream:
        cpio.write(Tree({"/init": file(program.read_bytes(), mode=0o755), "/dev": directory()}), stream, epoch_s=0)
    argv: list[str | Path] = [
        "qemu-system-x86_64",
        *("-M", "microvm,acpi=off", "-global", "virtio-mmio.force-legacy=off", "-accel", "tcg", "-cpu", cpu),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-m", f"{memory_mib}M", "-kernel", micro.image, "-initrd", root),
        *("-append", f"{micro.cmdline} {micro.cmdline_tcg} {words}"),
    ]
    return process.run(argv, timeout_s=LIMIT_S).text


@pytest.fixture(scope="module")
def abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("abi") / "abi"
    process.run(["gcc", "-Os", "-static", "-s", "-Wall", "-o", program, HERE / "abi.c"])
    return program


def test_an_application_finds_what_it_takes_for_granted(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=32)
    assert "asked: 0 missing" in said, said


def test_it_is_quiet(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=32)
    lines = [line for line in said.splitlines() if line.startswith("[")]
    assert all("reboot: " in line for line in lines), said


@pytest.mark.parametrize("cpu", ["qemu64", "max"])
def test_a_little_memory_is_enough(micro: kernel.Kernel, abi: Path, cpu: str) -> None:
    assert "asked: 0 missing" in boot(micro, abi, memory_mib=14, cpu=cpu)


def test_a_lot_of_memory_is_used(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=5000, words="loglevel=7")
    assert "asked: 0 missing" in said, said
    total_kib = int(said.split("Memory: ")[1].split("/")[1].split("K")[0])
    assert total_kib > 4900 * 1024
