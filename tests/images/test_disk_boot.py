"""Disks in QEMU as anybody starts them: SeaBIOS, no word of ours, an address by DHCP."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    disk: Path, log: Path, *devices: str, machine: str = "q35", nic: str = "virtio-net-pci", cpus: int = 1
) -> Iterator[str]:
    """A machine with this disk; gives the address of its port 80."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    form = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vhd": "vpc"}.get(disk.suffix, "raw")
    argv = [
        *(
            "qemu-system-x86_64",
            "-M",
            machine,
            "-m",
            "128",
            "-smp",
            str(cpus),
            "-display",
            "none",
            "-no-reboot",
            "-nodefaults",
        ),
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


@pytest.mark.parametrize("disk", [*(f"{root}.disk" for root in ROOTS), *(f"erofs.{form}" for form in FORMATS[1:])])
def test_it_answers(disks: dict[str, Path], disk: str, tmp_path: Path) -> None:
    with started(disks[disk], tmp_path / "log", VIRTIO) as url:
        assert answered(url, tmp_path / "log") == b"It works\n"


@pytest.mark.slow
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
def test_on_every_controller(disks: dict[str, Path], devices: tuple[str, ...], tmp_path: Path) -> None:
    with started(disks["erofs.disk"], tmp_path / "log", *devices) as url:
        assert answered(url, tmp_path / "log") == b"It works\n"


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "nic"), [("q35", "e1000e"), ("q35", "vmxnet3"), ("pc", "e1000")])
def test_on_other_networks(disks: dict[str, Path], machine: str, nic: str, tmp_path: Path) -> None:
    with started(disks["erofs.disk"], tmp_path / "log", VIRTIO, machine=machine, nic=nic) as url:
        assert answered(url, tmp_path / "log") == b"It works\n"


@pytest.mark.slow
def test_with_several_processors(disks: dict[str, Path], tmp_path: Path) -> None:
    with started(disks["erofs.disk"], tmp_path / "log", VIRTIO, cpus=4) as url:
        assert answered(url, tmp_path / "log") == b"It works\n"


def test_a_disk_that_cannot_be_read_says_so(disks: dict[str, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.raw"
    cut.write_bytes(disks["erofs.disk"].read_bytes()[: 1 << 20])
    with started(cut, tmp_path / "log", VIRTIO):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            said = (tmp_path / "log").read_text(errors="replace") if (tmp_path / "log").exists() else ""
            if "imagebuilder: the disk cannot be read" in said:
                return
            time.sleep(0.1)
    pytest.fail(f"it said {said!r}")
