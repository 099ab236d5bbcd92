"""The command line of a machine, word by word."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from imagebuilder.arch import Firmware, MachineType
from imagebuilder.bundle import BootSettings, Bundle, DiskShape, Image, KernelFile, RootFile
from imagebuilder.errors import InputError
from imagebuilder.images import DiskImage, Media, Medium
from imagebuilder.machine import clock
from imagebuilder.machine.command_line import Wiring, argv
from imagebuilder.machine.flash import Flash
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.ports import free_ports, with_ports
from imagebuilder.machine.spec import Accelerator, Disk, Forward, MachineSpec, spec_of

SPEC = MachineSpec(
    machine=MachineType.MICROVM,
    accelerator=Accelerator.TCG,
    kernel=Path("/k/vmlinux"),
    cmdline="console=ttyS0  quiet",
    memory_mib=32,
    disks=(Disk(path=Path("/k/a,b.erofs")), Disk(size_mib=64)),
    forwards=(Forward(8080, 80), Forward(6380, 6379)),
    name="nginx",
)
WIRING = Wiring(qmp_fd=7, console_fd=8, channel_fd=9, scratch_fds=(10,))


def test_a_microvm_as_we_start_it() -> None:
    assert argv(SPEC, wiring=WIRING) == [
        "qemu-system-x86_64",
        *("-name", "nginx"),
        *("-M", "microvm,acpi=off"),
        *("-global", "virtio-mmio.force-legacy=off"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-accel", "tcg,tb-size=48", "-cpu", "max,-smap,-erms,-fsrm"),
        *("-m", "32M", "-smp", "1"),
        *("-kernel", "/k/vmlinux"),
        *("-append", "console=ttyS0 quiet ib.ip=10.0.2.15/24,10.0.2.2 ib.channel=vport0p1 ib.listen=1"),
        *("-chardev", "socket,id=qmp,fd=7", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", "socket,id=console,fd=8", "-serial", "chardev:console"),
        *("-chardev", "socket,id=channel,fd=9", "-device", "virtio-serial-device,max_ports=2"),
        *("-device", "virtserialport,chardev=channel,name=imagebuilder.0"),
        *("-drive", "if=none,id=disk0,format=raw,readonly=on,file=/k/a,,b.erofs"),
        *("-device", "virtio-blk-device,drive=disk0"),
        *("-drive", "if=none,id=disk1,format=raw,cache=unsafe,file=/proc/self/fd/10"),
        *("-device", "virtio-blk-device,drive=disk1"),
        *(
            "-netdev",
            "user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:6380-:6379",
        ),
        *("-device", "virtio-net-device,netdev=net,status=off"),
        *("-device", "virtio-rng-device"),
    ]


def test_a_q35_for_a_shell() -> None:
    spec = replace(
        SPEC,
        machine=MachineType.Q35,
        accelerator=Accelerator.KVM,
        acpi=True,
        initrd=Path("/k/root.cpio"),
        cpus=2,
        disks=(Disk(size_mib=64),),
        forwards=(),
    )
    assert argv(spec, wiring=None) == [
        "qemu-system-x86_64",
        *("-name", "nginx"),
        *("-M", "q35,usb=off,acpi=on"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-accel", "kvm", "-cpu", "host"),
        *("-m", "32M", "-smp", "2"),
        *("-kernel", "/k/vmlinux", "-initrd", "/k/root.cpio"),
        *("-append", "console=ttyS0 quiet ib.ip=10.0.2.15/24,10.0.2.2"),
        *("-serial", "stdio"),
        *("-drive", "if=none,id=disk0,driver=null-co,read-zeroes=on,size=67108864,snapshot=on"),
        *("-device", "virtio-blk-pci,drive=disk0"),
        *("-netdev", "user,id=net,restrict=on,ipv6=off"),
        *("-device", "virtio-net-pci,netdev=net,status=off,romfile="),
        *("-device", "virtio-rng-pci"),
    ]


def test_an_empty_machine() -> None:
    spec = MachineSpec(MachineType.MICROVM, Accelerator.TCG, network=False, channel=False)
    words = argv(spec, Launch(paused=True), wiring=WIRING)
    assert words[-4:] == ["-chardev", "socket,id=console,fd=8", "-serial", "chardev:console"]
    assert "-S" in words and "-kernel" not in words


def test_an_open_forward_has_no_command_line() -> None:
    with pytest.raises(AssertionError, match="choose the host ports first"):
        argv(replace(SPEC, forwards=(Forward(None, 80),)), wiring=None)


def bundle(root: RootFile) -> Bundle:
    """A bundle that stands nowhere."""
    boot = BootSettings(
        machine=MachineType.MICROVM,
        acpi=False,
        memory_mib=32,
        cpus=1,
        ports=(80, 443),
        disks=(DiskShape(size_mib=64),),
        cmdline_tcg="lpj=1",
        cmdline_kvm="tsc=reliable",
    )
    image = Image.model_validate(
        {
            "schema": "imagebuilder.image/1",
            "name": "nginx",
            "version": "1",
            "kernel": KernelFile(name="micro", file="vmlinux", bytes=1, sha256="0"),
            "root": root,
            "cmdline": "console=ttyS0",
            "boot": boot,
            "ready": {"exit": 0},
            "budget": {},
            "recipe": {},
        }
    )
    return Bundle(Path("/out/nginx"), image)


INITRAMFS = RootFile(format="initramfs", file="root.cpio", bytes=1, sha256="0")
EROFS = RootFile(format="erofs", file="root.erofs", bytes=1, sha256="0")


def test_the_machine_of_an_image() -> None:
    assert spec_of(bundle(EROFS), accelerator=Accelerator.TCG) == MachineSpec(
        MachineType.MICROVM,
        Accelerator.TCG,
        kernel=Path("/out/nginx/vmlinux"),
        cmdline="console=ttyS0 lpj=1",
        memory_mib=32,
        disks=(Disk(path=Path("/out/nginx/root.erofs")), Disk(size_mib=64)),
        forwards=(Forward(None, 80), Forward(None, 443)),
        name="nginx",
        tsc_khz=clock.host_tsc_khz(),
    )


def test_a_root_in_memory_is_handed_over_as_the_initial_ramdisk() -> None:
    root = RootFile(format="memory", file="root.erofs", bytes=1, sha256="0")
    spec = spec_of(bundle(root), accelerator=Accelerator.TCG)
    assert spec.initrd == Path("/out/nginx/root.erofs") and spec.disks == (Disk(size_mib=64),)


@pytest.mark.parametrize("root", [EROFS, INITRAMFS], ids=["disk", "memory"])
def test_a_disk_starts_by_firmware_and_is_told_of_the_channel_alone(root: RootFile) -> None:
    """Scratch disks keep the names that they have beside the bundle's root."""
    medium = Medium("qcow2", Media(disks=(DiskImage(Path("/out/a,b.qcow2"), "qcow2"),)), Firmware.BIOS)
    spec = spec_of(bundle(root), accelerator=Accelerator.TCG, medium=medium)
    disk, scratch = Disk(path=Path("/out/a,b.qcow2"), format="qcow2", boots=True), Disk(size_mib=64)
    assert spec.disks == ((disk, scratch) if root is EROFS else (scratch, disk))
    assert (spec.kernel, spec.initrd, spec.cmdline, spec.flash, spec.memory_mib) == (None, None, "", None, 32)
    words = argv(with_ports(spec), wiring=WIRING)
    assert "-kernel" not in words and "-append" not in words
    told = words[words.index("-fw_cfg") + 1]
    assert told == "name=opt/imagebuilder/words,string=ib.channel=vport0p1 ib.listen=1"
    number = spec.disks.index(disk)
    assert f"virtio-blk-device,drive=disk{number},bootindex=0" in words
    assert f"if=none,id=disk{number},format=qcow2,readonly=on,file=/out/a,,b.qcow2" in words
    assert "-fw_cfg" not in argv(with_ports(spec), wiring=None)


def test_uefi_comes_as_two_flashes_and_takes_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = Flash(Path("/fw/code.fd"), Path("/fw/vars.fd"))
    monkeypatch.setattr("imagebuilder.machine.flash.find", lambda _machine: flash)
    medium = Medium("disk", Media(disks=(DiskImage(Path("/out/app.raw")),)), Firmware.UEFI)
    spec = spec_of(bundle(EROFS), accelerator=Accelerator.TCG, medium=medium)
    assert (spec.flash, spec.memory_mib) == (flash, 128)
    words = argv(with_ports(spec), wiring=WIRING)
    assert "if=pflash,unit=0,format=raw,readonly=on,file=/fw/code.fd" in words
    assert "if=pflash,unit=1,format=raw,snapshot=on,file=/fw/vars.fd" in words
    assert spec_of(bundle(EROFS), accelerator=Accelerator.TCG, medium=medium, memory_mib=64).memory_mib == 64


def test_what_a_user_may_change_of_it() -> None:
    forwards = (Forward(8443, 443), Forward(9000, 9000))
    spec = spec_of(bundle(INITRAMFS), accelerator=Accelerator.KVM, memory_mib=16, cpus=2, forwards=forwards)
    assert spec.initrd == Path("/out/nginx/root.cpio")
    assert spec.disks == (Disk(size_mib=64),)
    assert spec.cmdline == "console=ttyS0 tsc=reliable"
    assert (spec.memory_mib, spec.cpus) == (16, 2)
    assert spec.forwards == (Forward(None, 80), Forward(8443, 443), Forward(9000, 9000))


def test_free_ports_are_different_and_only_chosen_where_none_is_asked_for() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50 and all(1024 <= port < 65536 for port in ports)
    spec = with_ports(replace(SPEC, forwards=(Forward(None, 80), Forward(8443, 443), Forward(None, 81))))
    first, second, third = spec.forwards
    assert second == Forward(8443, 443)
    assert first.host_port not in (None, third.host_port)
    assert argv(spec, wiring=None)


def test_a_machine_that_counts_instructions_waits_in_real_time_and_stays_at_its_end() -> None:
    words = argv(SPEC, Launch(icount=3), wiring=WIRING)
    at = words.index("-icount")
    assert words[at : at + 3] == ["-icount", "shift=3,sleep=on", "-no-shutdown"]
    assert "-icount" not in argv(SPEC, wiring=WIRING)


def test_what_a_machine_is_and_how_it_is_started_have_nothing_in_common() -> None:
    assert not {each.name for each in fields(MachineSpec)} & {each.name for each in fields(Launch)}
    assert argv(SPEC, Launch(host_cpus=(1,)), wiring=WIRING) == argv(SPEC, wiring=WIRING)
    assert [word for word in argv(SPEC, Launch(paused=True), wiring=WIRING) if word != "-S"] == argv(
        SPEC, wiring=WIRING
    )


def test_somebody_elses_guest_gets_its_own_words_only() -> None:
    disk = Disk(path=Path("/k/cloud.qcow2"), format="qcow2", snapshot=True)
    spec = replace(SPEC, foreign=True, channel=False, firmware=Path("/k/bios.bin"), disks=(disk,), forwards=())
    words = argv(with_ports(spec), wiring=WIRING)
    assert words[words.index("-append") + 1] == "console=ttyS0 quiet"
    assert words[words.index("-bios") + 1] == "/k/bios.bin"
    assert "if=none,id=disk0,format=qcow2,snapshot=on,file=/k/cloud.qcow2" in words
    assert "-append" not in argv(replace(spec, cmdline=""), wiring=WIRING)


def test_what_was_decided_at_build_time_is_not_asked_for_at_run_time() -> None:
    image = bundle(INITRAMFS).image
    one = image.model_copy(update={"kernel": image.kernel.model_copy(update={"most_cpus": 1})})
    alone = image.model_copy(update={"boot": image.boot.model_copy(update={"network": False, "ports": ()})})
    assert spec_of(Bundle(Path("x"), one), accelerator=Accelerator.TCG, cpus=1).cpus == 1
    with pytest.raises(InputError, match=r"2 processors were asked for, and the kernel micro of this image uses 1"):
        spec_of(Bundle(Path("x"), one), accelerator=Accelerator.TCG, cpus=2)
    many = image.model_copy(update={"kernel": image.kernel.model_copy(update={"most_cpus": 64})})
    with pytest.raises(InputError) as caught:
        spec_of(Bundle(Path("x"), many), accelerator=Accelerator.TCG, cpus=9999)
    assert caught.value.hint == "ask for 64 or less"
    assert spec_of(Bundle(Path("x"), many), accelerator=Accelerator.TCG, cpus=64).cpus == 64
    with pytest.raises(InputError, match=r"a port was asked for, and its machine has no network"):
        spec_of(Bundle(Path("x"), alone), accelerator=Accelerator.TCG, forwards=(Forward(1, 80),))
