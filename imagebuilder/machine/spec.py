"""A virtual machine as a value: what it is, whichever way it is started (``launch.py``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imagebuilder.arch import TARGET, Firmware, MachineType
from imagebuilder.bundle import BootSettings, Bundle, Image
from imagebuilder.errors import InputError
from imagebuilder.images import Medium
from imagebuilder.images.direct import media_of
from imagebuilder.machine import clock, flash
from imagebuilder.machine.flash import Flash
from imagebuilder.machine.given import Given
from imagebuilder.recipe.values import Egress
from imagebuilder.words import counted

PROGRAM = TARGET.qemu
LOOPBACK = "127.0.0.1"
MIB_BYTES = 1 << 20
LEAST_UEFI_MIB = 128  # with 64, OVMF (2022.11) has no room for Linux to unpack itself, with 48 none for its file


class Accelerator(StrEnum):
    """What executes the guest's instructions: the processor (KVM) or QEMU's translator (TCG)."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Disk:
    """A read-only disk with the content of ``path``, or an empty scratch disk of ``size_mib``.

    A guest that must write to its disk gets a ``snapshot``: what it writes goes to a file that QEMU unlinks at once.
    A ``writable`` one is changed. ``aio`` is how QEMU waits for its file (None: in threads of its own). Firmware starts
    the one that ``boots``.
    """

    path: Path | None = None
    size_mib: int = 0
    format: str = "raw"
    snapshot: bool = False
    writable: bool = False
    aio: str | None = None
    boots: bool = False

    @property
    def size_bytes(self) -> int:
        """The size of a scratch disk."""
        return self.size_mib * MIB_BYTES


@dataclass(frozen=True, slots=True)
class Forward:
    """A guest's TCP port that is reached at a port of 127.0.0.1; ``host_port`` None is any free one."""

    host_port: int | None
    guest_port: int


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One virtual machine. Without a kernel or disks there is no guest.

    ``firmware`` replaces QEMU's own, ``flash`` is UEFI's; ``medium`` is what it starts from, where that is not a
    bundle. A ``foreign`` guest has no init of ours, and gets no words for it. ``tsc_khz`` is the rate of this host's
    time stamp counter, where it is known. ``cpu_model`` replaces the accelerator's; ``properties`` of the machine and
    ``global_properties`` of its devices (``DRIVER.PROPERTY``) stand behind our own, and the last one counts. ``image``
    is the digest of the image that it boots, where it boots one. ``secrets`` are the names of those that its
    application needs, ``given`` is what it gets for its start.
    """

    machine: MachineType
    accelerator: Accelerator
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    memory_mib: int = 64
    cpus: int = 1
    disks: tuple[Disk, ...] = ()
    forwards: tuple[Forward, ...] = ()
    network: bool = True
    egress: Egress = Egress.NONE
    channel: bool = True
    acpi: bool = False
    name: str = "imagebuilder"
    firmware: Path | None = None
    flash: Flash | None = None
    medium: Medium | None = None
    foreign: bool = False
    tsc_khz: int | None = None
    cpu_model: str | None = None
    properties: tuple[tuple[str, str], ...] = ()
    global_properties: tuple[tuple[str, str], ...] = ()
    image: str = ""
    secrets: tuple[str, ...] = ()
    given: Given | None = None

    @property
    def scratch(self) -> tuple[Disk, ...]:
        """The scratch disks, in order."""
        return tuple(disk for disk in self.disks if disk.path is None)


def spec_of(
    bundle: Bundle,
    *,
    accelerator: Accelerator,
    memory_mib: int | None = None,
    cpus: int | None = None,
    egress: Egress | None = None,
    forwards: Iterable[Forward] = (),
    medium: Medium | None = None,
    given: Given | None = None,
) -> MachineSpec:
    """The machine that an image expects; ``memory_mib``, ``cpus`` and ``egress`` override it, ``forwards`` say which
    host ports; ``given`` is what its application gets for its start. ``medium`` is what it starts from, instead of the
    bundle. Raises InputError for what the image cannot use, ToolMissing for firmware that is not there."""
    boot = bundle.image.boot
    forwards = tuple(forwards)
    _check(bundle.image, cpus or boot.cpus, forwards, egress)
    media = medium.media if medium else media_of(bundle)
    own = tuple(Disk(path=each.path.absolute(), format=each.format, boots=media.kernel is None) for each in media.disks)
    scratch = tuple(Disk(size_mib=disk.size_mib) for disk in boot.disks)
    uefi = medium is not None and medium.firmware is Firmware.UEFI
    return MachineSpec(
        machine=boot.machine,
        accelerator=accelerator,
        kernel=media.kernel,
        initrd=media.initrd,
        cmdline=_cmdline(bundle.image.cmdline, boot, accelerator) if media.kernel else "",
        memory_mib=memory_mib or max(boot.memory_mib, LEAST_UEFI_MIB if uefi else 0),
        cpus=cpus or boot.cpus,
        disks=own + scratch if media.kernel or bundle.image.root.is_disk else scratch + own,
        forwards=_forwards(boot.ports, forwards),
        network=boot.network,
        egress=egress or Egress(boot.egress),
        acpi=boot.acpi,
        name=bundle.image.name,
        flash=flash.find(boot.machine) if uefi else None,
        medium=medium,
        tsc_khz=clock.host_tsc_khz(),
        image=bundle.image.digest,
        secrets=bundle.image.recipe.secrets,
        given=given or None,
    )


def _check(image: Image, cpus: int, forwards: tuple[Forward, ...], egress: Egress | None) -> None:
    """What was decided when the image was built cannot be asked for when it runs."""
    most = image.kernel.most_cpus
    if most is not None and cpus > most:
        raise InputError(
            f"{image.name}: {counted(cpus, 'processor')} were asked for, and the kernel {image.kernel.name} of this "
            f"image uses {most} at most",
            hint=f"ask for {most} or less" if most > 1 else f"cpus = {cpus} under [machine] in the recipe",
        )
    check_network(image.name, forwards, egress, network=image.boot.network)


def check_network(name: str, forwards: tuple[Forward, ...], egress: Egress | None = None, *, network: bool) -> None:
    """Raise InputError for ports of a machine without a network, and for a way out of it."""
    asked = "a port" if forwards else "a way out" if egress is Egress.FULL else None
    if asked and not network:
        hint = "take network = false out of [machine] in the recipe"
        raise InputError(f"{name}: {asked} was asked for, and its machine has no network", hint=hint)


def _cmdline(words: str, boot: BootSettings, accelerator: Accelerator) -> str:
    more = {Accelerator.KVM: boot.cmdline_kvm, Accelerator.TCG: boot.cmdline_tcg}[accelerator]
    return " ".join(part for part in (words.strip(), more.strip()) if part)


def _forwards(ports: Iterable[int], given: Iterable[Forward]) -> tuple[Forward, ...]:
    """Every port of the image, at the host port that was asked for or at any; then what was asked for besides."""
    asked = {forward.guest_port: forward for forward in given}
    image = [asked.pop(port, Forward(None, port)) for port in ports]
    return (*image, *asked.values())
