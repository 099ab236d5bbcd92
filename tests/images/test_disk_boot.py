"""Disks in QEMU as anybody starts them: SeaBIOS or OVMF, no word of ours, an address by DHCP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.build.outputs import built
from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from tests.app import HTTP, lay_down, recipe_text
from tests.app import compiled as application
from tests.asking import asked

pytestmark = pytest.mark.vm

LIMIT_S = 300  # so that a hanging guest ends
ROOTS = ("initramfs", "erofs", "memory", "squashfs")
FORMATS = ("disk", "qcow2", "vmdk", "vhd")
VIRTIO = "virtio-blk-pci,drive=disk"
SCSI = "scsi-hd,drive=disk"
FIRMWARE = {"bios": (), "uefi": ("-bios", "/usr/share/ovmf/OVMF.fd")}


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The disk of a small server by the format of its root, and one of them in all formats."""
    folder = tmp_path_factory.mktemp("disks")
    program, store = application(folder), Store(folder / "cache")
    made = {}
    for root in ROOTS:
        more = f'[machine]\nports = [80]\n[root]\nformat = "{root}"\n'
        text = recipe_text("http=200", name=f"app-{root}", ready=HTTP.format(timeout_s=120), more=more)
        recipe = load(lay_down(folder / f"app-{root}", program, text))
        build = Build(recipe, store, silent, formats=FORMATS if root == "erofs" else ("disk",))
        for each in built(build, folder / "out").artifacts:
            made[f"{root}.{each.format}"] = each.path
        assert build.planner.kernel_title == "cloud"
    return made


@contextmanager
def started(
    disk: Path,
    log: Path,
    *devices: str,
    firmware: str = "bios",
    machine: str = "q35",
    nic: str = "virtio-net-pci",
    cpus: int = 1,
) -> Iterator[str]:
    """A machine with this disk; gives the address of its port 80."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    form = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vhd": "vpc"}.get(disk.suffix, "raw")
    argv = [
        *("qemu-system-x86_64", "-M", machine, "-m", "128", "-smp", str(cpus), *FIRMWARE[firmware]),
        *("-display", "none", "-no-reboot", "-nodefaults"),
        *("-drive", f"if=none,id=disk,format={form},snapshot=on,file={disk}"),
        *(word for device in devices for word in ("-device", device)),
        *("-nic", f"user,model={nic},hostfwd=tcp:127.0.0.1:{port}-:80", "-serial", f"file:{log}"),
    ]
    with subprocess.Popen(argv) as machine_process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            machine_process.kill()


def answered(url: str, log: Path) -> bytes:
    """What the server says when it is there."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        try:
            return asked(url)[1]
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"no answer: {log.read_text(errors='replace')}")


def tried(disk: Path, folder: Path, *devices: str, **machine: Any) -> None:
    """It answers."""
    with started(disk, folder / "log", *devices, **machine) as url:
        assert answered(url, folder / "log") == b"It works\n"


@pytest.mark.parametrize("disk", [*(f"{root}.disk" for root in ROOTS), *(f"erofs.{form}" for form in FORMATS[1:])])
def test_a_bios_starts_it(disks: dict[str, Path], disk: str, tmp_path: Path) -> None:
    tried(disks[disk], tmp_path, VIRTIO)


@pytest.mark.parametrize("disk", ["initramfs.disk", "erofs.disk"])
def test_uefi_starts_it(disks: dict[str, Path], disk: str, tmp_path: Path) -> None:
    tried(disks[disk], tmp_path, VIRTIO, firmware="uefi")


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["memory.disk", "squashfs.disk", *(f"erofs.{form}" for form in FORMATS[1:])])
def test_uefi_starts_every_format(disks: dict[str, Path], disk: str, tmp_path: Path) -> None:
    tried(disks[disk], tmp_path, VIRTIO, firmware="uefi")


@pytest.fixture(scope="module")
def recipe(disks: dict[str, Path]) -> tuple[Path, dict[str, str]]:
    """The recipe of one of them, and the surroundings with the cache that it was built with."""
    folder = next(iter(disks.values())).parent.parent
    return folder / "app-initramfs", {**os.environ, "IMAGEBUILDER_CACHE": str(folder / "cache")}


def ran(recipe: tuple[Path, dict[str, str]], folder: Path, *words: str) -> dict[str, Any]:
    """What ``imagebuilder VERB RECIPE`` reports."""
    (verb, *more), (path, env) = words, recipe
    argv = [sys.executable, "-m", "imagebuilder", verb, str(path), *more, "--accel", "tcg", "--json", "report.json"]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_the_verb_test_starts_the_disk(recipe: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """Init finds its channel, so that readiness, phases and the application's end are seen."""
    (image,) = ran(recipe, tmp_path, "test", "--format", "qcow2", "--runs", "1")["images"]
    machine = {"type": "q35", "memory_mib": 64, "cpus": 1, "format": "qcow2", "firmware": "bios"}
    assert {**image["machine"], "memory_mib": 64} == machine
    assert all(check["holds"] for check in image["checks"]) and image["startup"]["phases_ms"]["kernel"]["median"] > 0
    assert (tmp_path / "out" / "app-initramfs.qcow2").is_file()


@pytest.mark.slow
def test_the_verb_bench_starts_them_in_turn(recipe: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    words = ("--format", "direct", "--format", "disk", "--firmware", "bios", "--firmware", "uefi", "--runs", "1")
    images = ran(recipe, tmp_path, "bench", *words)["images"]
    names = ["app-initramfs", "app-initramfs.disk, bios", "app-initramfs.disk, uefi"]
    assert [image["name"] for image in images] == names
    direct, bios, uefi = (image["startup"]["phases_ms"]["firmware"]["median"] for image in images)
    assert direct < bios < uefi


@pytest.mark.slow
@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize(
    "devices",
    [
        ("nvme,drive=disk,serial=1",),
        ("virtio-scsi-pci", SCSI),
        ("pvscsi", SCSI),
        ("ide-hd,drive=disk",),  # AHCI
    ],
    ids=["nvme", "virtio-scsi", "pvscsi", "ahci"],
)
def test_on_every_controller(disks: dict[str, Path], devices: tuple[str, ...], firmware: str, tmp_path: Path) -> None:
    tried(disks["erofs.disk"], tmp_path, *devices, firmware=firmware)


@pytest.mark.slow
@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize(("machine", "nic"), [("q35", "e1000e"), ("q35", "vmxnet3"), ("pc", "e1000")])
def test_on_other_networks(disks: dict[str, Path], machine: str, nic: str, firmware: str, tmp_path: Path) -> None:
    tried(disks["erofs.disk"], tmp_path, VIRTIO, machine=machine, nic=nic, firmware=firmware)


@pytest.mark.slow
@pytest.mark.parametrize("firmware", FIRMWARE)
def test_with_several_processors(disks: dict[str, Path], firmware: str, tmp_path: Path) -> None:
    tried(disks["erofs.disk"], tmp_path, VIRTIO, cpus=4, firmware=firmware)


@pytest.mark.parametrize(
    ("firmware", "expected"),
    [("bios", "imagebuilder: the disk cannot be read"), ("uefi", "imagebuilder: UEFI does not start the kernel")],
)
def test_a_disk_without_its_kernel_says_so(
    disks: dict[str, Path], firmware: str, expected: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.raw"
    content = disks["erofs.disk"].read_bytes()
    kernel = content.index(b"MZ", content.index(b"MZ") + 2)  # that of the program with the kernel comes first
    broken.write_bytes(
        content[: 1 << 20] if firmware == "bios" else content[:kernel] + bytes(2) + content[kernel + 2 :]
    )
    with started(broken, tmp_path / "log", VIRTIO, firmware=firmware):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            said = (tmp_path / "log").read_text(errors="replace") if (tmp_path / "log").exists() else ""
            if expected in said:
                return
            time.sleep(0.1)
    pytest.fail(f"it said {said!r}")
