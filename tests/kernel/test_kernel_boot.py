"""The prebuilt micro in QEMU: it boots, and offers what ordinary applications take for granted."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imagebuilder import kernel, process
from imagebuilder.events import silent
from imagebuilder.filesystems import cpio
from imagebuilder.machine import clock
from imagebuilder.machine.command_line import ACCELERATOR_ARGS
from imagebuilder.machine.spec import Accelerator
from imagebuilder.store import Store
from imagebuilder.tree import Tree, directory, file

pytestmark = pytest.mark.vm

HERE = Path(__file__).parent
LIMIT_S = 120  # so that a hanging guest ends; nothing is measured by it
OURS = ACCELERATOR_ARGS[Accelerator.TCG][-1]
SMP = {"SMP": "machine.cpus = 2"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def micro(store: Store) -> kernel.Kernel:
    return kernel.provide(kernel.load_definition("micro"), store=store, say=silent)


def boot(
    micro: kernel.Kernel,
    program: Path,
    *,
    memory_mib: int,
    cpu: str = OURS,
    cpus: int = 1,
    words: str = "",
    disks: Sequence[Path] = (),
    on_line: Callable[[str], None] | None = None,
) -> str:
    """What the console says of a machine whose PID 1 is ``program``."""
    root = program.with_suffix(".cpio")
    with root.open("wb") as stream:
        cpio.write(Tree({"/init": file(program.read_bytes(), mode=0o755), "/dev": directory()}), stream, epoch_s=0)
    argv: list[str | Path] = [
        "qemu-system-x86_64",
        *("-M", "microvm,acpi=off", "-global", "virtio-mmio.force-legacy=off", "-accel", "tcg", "-cpu", cpu),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-m", f"{memory_mib}M", "-smp", str(cpus), "-kernel", micro.image, "-initrd", root),
        *(word for disk in disks for word in _disk(disk)),
        *("-append", f"{micro.cmdline} {micro.cmdline_tcg} {words}"),
    ]
    return process.run(argv, timeout_s=LIMIT_S, on_line=on_line).text


def _disk(path: Path) -> tuple[str, str, str, str]:
    name = path.stem
    drive = f"if=none,id={name},format=raw,file={path}"
    return "-drive", drive, "-device", f"virtio-blk-device,drive={name}"


def compiled(name: str, folder: Path) -> Path:
    process.run(["gcc", "-Os", "-static", "-s", "-Wall", "-o", folder / name, HERE / f"{name}.c"])
    return folder / name


@pytest.fixture(scope="module")
def abi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("abi", tmp_path_factory.mktemp("abi"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("machine", tmp_path_factory.mktemp("machine"))


def test_an_application_finds_what_it_takes_for_granted(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=32)
    assert "asked: 0 missing" in said, said


def test_it_is_quiet(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=32)
    lines = [line for line in said.splitlines() if line.startswith("[")]
    assert all("reboot: " in line for line in lines), said


@pytest.mark.parametrize("cpu", ["qemu64", "max", OURS])
def test_a_little_memory_is_enough(micro: kernel.Kernel, abi: Path, cpu: str) -> None:
    assert "asked: 0 missing" in boot(micro, abi, memory_mib=14, cpu=cpu)


def test_a_lot_of_memory_is_used(micro: kernel.Kernel, abi: Path) -> None:
    said = boot(micro, abi, memory_mib=5000, words="loglevel=7")
    assert "asked: 0 missing" in said, said
    total_kib = int(said.split("Memory: ")[1].split("/")[1].split("K")[0])
    assert total_kib > 4900 * 1024


def test_one_processor_runs_it(micro: kernel.Kernel, machine: Path) -> None:
    said = boot(micro, machine, memory_mib=32, cpus=2)
    assert re.findall(r"runs on (\d)", said) == ["0"]


def test_the_variant_with_smp_is_ready_and_runs_on_both(store: Store, abi: Path, machine: Path) -> None:
    definition = kernel.load_definition("micro")
    fragments = kernel.completed(definition, (), SMP)
    noted: list[object] = []
    smp = kernel.provide(definition, extra_fragments=fragments, store=store, say=noted.append)
    assert not noted, "it was not prebuilt"
    assert re.findall(r"runs on (\d)", boot(smp, machine, memory_mib=32, cpus=2)) == ["0", "1"]
    assert "asked: 0 missing" in boot(smp, abi, memory_mib=32, cpus=2)
    assert "asked: 0 missing" in boot(smp, abi, memory_mib=32)


def test_scarcity_gives_back_the_text_of_init_functions(micro: kernel.Kernel, machine: Path) -> None:
    said = boot(micro, machine, memory_mib=32)
    total, then = (int(re.search(rf"{word} (\d+) KiB", said)[1]) for word in ("total", "then"))  # type: ignore[index]
    assert 64 < then - total < 512, said


@pytest.mark.skipif(clock.host_tsc_khz() is None, reason="this host does not tell the rate of its clock")
def test_a_second_is_a_second_where_the_host_tells_its_rate(micro: kernel.Kernel, machine: Path) -> None:
    def slept_s(words: str) -> float:
        at: dict[str, float] = {}
        boot(
            micro, machine, memory_mib=32, words=words, on_line=lambda line: at.update({line.strip(): time.monotonic()})
        )
        return at["slept"] - at["sleeps"]

    told, measured = slept_s(f"tsc_early_khz={clock.host_tsc_khz()}"), slept_s("")
    assert 0.8 < told / measured < 1.25
