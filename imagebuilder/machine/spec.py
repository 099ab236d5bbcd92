"""A virtual machine as a value, and its QEMU command line. Pure: nothing here opens a file or a port.

A root disk comes first and read-only (``/dev/vda``); scratch disks follow. The guest gets the addresses of QEMU's user
network as ``ib.ip=``; ``docs/contracts.md`` has all words of the kernel command line.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path

from imagebuilder.bundle import Boot, Bundle, Image
from imagebuilder.errors import InputError
from imagebuilder.machine import clock
from imagebuilder.recipe.values import Egress
from imagebuilder.words import counted

PROGRAM = "qemu-system-x86_64"
CHANNEL_NAME = "imagebuilder.0"
CHANNEL_DEVICE = "vport0p1"  # in the guest: the first port, but for the console's, of the only virtio-serial device
LOOPBACK = "127.0.0.1"
# The guest's address, its gateway and its name server in QEMU's user network (QEMU: "Network emulation").
ADDRESS, GATEWAY_ADDRESS, NAME_SERVER_ADDRESS = "10.0.2.15/24", "10.0.2.2", "10.0.2.3"
# A template and its clones: room for an address that no other clone on this host has at the time, and gateway and name
# server are the same for all. 100.64.0.0/10 is set aside for addresses inside one provider's network (RFC 6598).
NETWORK = "net"  # the name of the network backend
CLONES_NETWORK = IPv4Network("100.64.0.0/10")
GATEWAY, NAME_SERVER, FIRST_GUEST = 2, 3, 15  # QEMU is told: in so large a network it would count otherwise
MIB_BYTES = 1 << 20


class Accelerator(StrEnum):
    """What executes the guest's instructions: the processor (KVM) or QEMU's translator (TCG)."""

    KVM = "kvm"
    TCG = "tcg"


class MachineType(StrEnum):
    """The virtual hardware."""

    MICROVM = "microvm"
    Q35 = "q35"


@dataclass(frozen=True, slots=True)
class Disk:
    """A read-only disk with the content of ``path``, or an empty scratch disk of ``size_mib``.

    A guest that must write to its disk gets a ``snapshot``: what it writes goes to a file that QEMU unlinks at once.
    A ``writable`` one is changed. ``aio`` is how QEMU waits for its file (None: in threads of its own).
    """

    path: Path | None = None
    size_mib: int = 0
    format: str = "raw"
    snapshot: bool = False
    writable: bool = False
    aio: str | None = None

    @property
    def size_bytes(self) -> int:
        """The size of a scratch disk."""
        return self.size_mib * MIB_BYTES


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """The guest's memory is this file: a template's is written, and a clone changes only its own copy of the pages."""

    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A guest's TCP port that is reached at a port of 127.0.0.1; ``host_port`` None is any free one."""

    host_port: int | None
    guest_port: int


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One virtual machine. Without a kernel or disks there is no guest; ``paused`` leaves the processor stopped.

    ``icount`` counts the guest's instructions: each takes 2**icount ns of the guest's time, and a guest that ends stays
    there to be asked. ``firmware`` replaces QEMU's own. A ``foreign`` guest has no init of ours, and gets no words for
    it. ``host_cpus`` are the processors of this host that QEMU may use; none: those that we may use. ``incoming`` waits
    for the device state of a template. ``tsc_khz`` is the rate of this host's time stamp counter, where it is known.
    ``cpu_model`` replaces the accelerator's; ``properties`` of the machine and ``global_properties`` of its devices
    (``DRIVER.PROPERTY``) stand behind our own, and the last one counts.
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
    paused: bool = False
    name: str = "imagebuilder"
    icount: int | None = None
    firmware: Path | None = None
    foreign: bool = False
    host_cpus: tuple[int, ...] = ()
    memory_file: MemoryFile | None = None
    incoming: bool = False
    tsc_khz: int | None = None
    cpu_model: str | None = None
    properties: tuple[tuple[str, str], ...] = ()
    global_properties: tuple[tuple[str, str], ...] = ()

    @property
    def scratch(self) -> tuple[Disk, ...]:
        """The scratch disks, in order."""
        return tuple(disk for disk in self.disks if disk.path is None)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The file descriptors that QEMU inherits: our two ways to talk to it, the console, and the scratch disks.

    ``state_fd`` gives the device state of a template.
    """

    qmp_fd: int
    console_fd: int
    channel_fd: int
    scratch_fds: tuple[int, ...] = ()
    state_fd: int | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """What differs between the machine types: how the machine is spelt and what its virtio devices are called."""

    words: str
    bus: str
    extra: tuple[str, ...] = ()
    nic_options: str = ""


HARDWARE: Mapping[MachineType, Hardware] = {
    # The kernel speaks modern virtio only.
    MachineType.MICROVM: Hardware("microvm", "device", extra=("-global", "virtio-mmio.force-legacy=off")),
    # No option ROM: nobody boots from the network here, and the package that brings it is often missing.
    MachineType.Q35: Hardware("q35,usb=off", "pci", nic_options=",romfile="),
}
ACCELERATOR_ARGS: Mapping[Accelerator, tuple[str, ...]] = {
    Accelerator.KVM: ("-accel", "kvm", "-cpu", "host"),
    # The translator runs string instructions one element at a time, and makes each function that runs before and after
    # the kernel switches SMAP on twice: without the three flags the guest has the same instructions and starts sooner.
    Accelerator.TCG: ("-accel", "tcg", "-cpu", "max,-smap,-erms,-fsrm"),
}
# A restricted network has its forwarded ports and DHCP. Nobody meets a guest by IPv6, which would be one more way out.
EGRESS: Mapping[Egress, str] = {Egress.NONE: ",restrict=on,ipv6=off", Egress.FULL: ""}


def spec_of(
    bundle: Bundle,
    *,
    accelerator: Accelerator,
    memory_mib: int | None = None,
    cpus: int | None = None,
    egress: Egress | None = None,
    forwards: Iterable[Forward] = (),
) -> MachineSpec:
    """The machine that an image expects; ``memory_mib``, ``cpus`` and ``egress`` override it, ``forwards`` say which
    host ports. Raises InputError for what the image cannot use."""
    boot, root = bundle.image.boot, bundle.image.root
    forwards = tuple(forwards)
    _check(bundle.image, cpus or boot.cpus, forwards, egress)
    root_disks = (Disk(path=bundle.root.absolute()),) if root.is_disk else ()
    return MachineSpec(
        machine=MachineType(boot.machine),
        accelerator=accelerator,
        kernel=bundle.kernel.absolute(),
        initrd=None if root.is_disk else bundle.root.absolute(),
        cmdline=_cmdline(bundle.image.cmdline, boot, accelerator),
        memory_mib=memory_mib or boot.memory_mib,
        cpus=cpus or boot.cpus,
        disks=root_disks + tuple(Disk(size_mib=disk.size_mib) for disk in boot.disks),
        forwards=_forwards(boot.ports, forwards),
        network=boot.network,
        egress=egress or Egress(boot.egress),
        acpi=boot.acpi,
        name=bundle.image.name,
        tsc_khz=clock.host_tsc_khz(),
    )


def _check(image: Image, cpus: int, forwards: tuple[Forward, ...], egress: Egress | None) -> None:
    """What was decided when the image was built cannot be asked for when it runs."""
    most = image.kernel.most_cpus
    if most is not None and cpus > most:
        raise InputError(
            f"{image.name}: {counted(cpus, 'processor')} were asked for, and the kernel {image.kernel.name} of this "
            f"image uses {most} at most",
            hint=f"cpus = {cpus} under [machine] in the recipe",
        )
    check_network(image.name, forwards, egress, network=image.boot.network)


def check_network(name: str, forwards: tuple[Forward, ...], egress: Egress | None = None, *, network: bool) -> None:
    """Raise InputError for ports of a machine without a network, and for a way out of it."""
    asked = "a port" if forwards else "a way out" if egress is Egress.FULL else None
    if asked and not network:
        hint = "take network = false out of [machine] in the recipe"
        raise InputError(f"{name}: {asked} was asked for, and its machine has no network", hint=hint)


def argv(spec: MachineSpec, *, wiring: Wiring | None) -> list[str]:
    """QEMU's command line. Without ``wiring`` it can be pasted into a shell: the console is the terminal, and there is
    neither QMP nor a channel; all forwards must then have their host ports."""
    return [
        PROGRAM,
        *("-name", _value(spec.name)),
        *_machine_args(spec),
        *_processor_args(spec),
        *_count_args(spec),
        *("-m", f"{spec.memory_mib}M", "-smp", str(spec.cpus)),
        *_boot_args(spec, wiring),
        *_qmp_args(wiring),
        *_console_args(wiring),
        *_channel_args(spec, wiring),
        *_disk_args(spec, wiring),
        *_network_args(spec),
        *_random_args(spec),
    ]


def _machine_args(spec: MachineSpec) -> Iterator[str]:
    hardware = HARDWARE[spec.machine]
    # Without ACPI, QEMU names the virtio devices on the kernel's command line.
    backend = ",memory-backend=ram" if spec.memory_file else ""
    given = "".join(f",{name}={_value(value)}" for name, value in spec.properties)
    yield from ("-M", f"{hardware.words},acpi={'on' if spec.acpi else 'off'}{backend}{given}")
    if spec.memory_file:
        share = "on" if spec.memory_file.writable else "off"
        memory = f"id=ram,size={spec.memory_mib}M,share={share},mem-path={_value(str(spec.memory_file.path))}"
        yield from ("-object", f"memory-backend-file,{memory}")
    yield from hardware.extra
    for name, value in spec.global_properties:
        yield from ("-global", f"{name}={value}")
    yield from ("-nodefaults", "-no-user-config", "-display", "none")
    # A machine without ACPI powers off by a reset.
    yield "-no-reboot"
    if spec.paused or spec.incoming:
        yield "-S"
    if spec.incoming:
        yield from ("-incoming", "defer")
    elif spec.memory_file:
        # A clone does as it is told, not as its template did when it was kept: that stood still.
        yield from ("-global", "migration.store-global-state=off")


def _processor_args(spec: MachineSpec) -> Iterator[str]:
    *words, usual = ACCELERATOR_ARGS[spec.accelerator]
    yield from (*words, spec.cpu_model or usual)


def _count_args(spec: MachineSpec) -> Iterator[str]:
    if spec.icount is not None:
        # A guest that waits waits in real time: without that, an idle one rushes from timer to timer and counts on.
        yield from ("-icount", f"shift={spec.icount},sleep=on")
        yield "-no-shutdown"


def _boot_args(spec: MachineSpec, wiring: Wiring | None) -> Iterator[str]:
    if spec.firmware is not None:
        yield from ("-bios", str(spec.firmware))
    if spec.kernel is None:
        return
    yield from ("-kernel", str(spec.kernel))
    if spec.initrd is not None:
        yield from ("-initrd", str(spec.initrd))
    if words := " ".join(_words(spec, wiring)):
        yield from ("-append", words)


def _words(spec: MachineSpec, wiring: Wiring | None) -> Iterator[str]:
    """The kernel's command line: the image's own words, then what only this machine knows."""
    yield from spec.cmdline.split()
    if spec.foreign:
        return
    tsc_khz = clock.COUNTED_KHZ if spec.icount is not None else spec.tsc_khz
    if spec.accelerator is Accelerator.TCG and tsc_khz:
        yield f"tsc_early_khz={tsc_khz}"  # else it is measured against the PIT, for some ms of real time
    if spec.network:
        yield f"ib.ip={_network_words(spec)}"
    if spec.channel and wiring is not None:
        yield f"ib.channel={CHANNEL_DEVICE}"
        # One that is counted is asked when it rests, and whoever looks meanwhile is counted too.
        if spec.forwards and spec.icount is None:
            yield "ib.listen=1"
    if spec.acpi:
        yield "ib.acpi=1"


def _qmp_args(wiring: Wiring | None) -> Iterator[str]:
    if wiring is not None:
        yield from ("-chardev", f"socket,id=qmp,fd={wiring.qmp_fd}")
        yield from ("-mon", "chardev=qmp,mode=control")


def _console_args(wiring: Wiring | None) -> Iterator[str]:
    if wiring is None:
        yield from ("-serial", "stdio")
    else:
        yield from ("-chardev", f"socket,id=console,fd={wiring.console_fd}")
        yield from ("-serial", "chardev:console")


def _channel_args(spec: MachineSpec, wiring: Wiring | None) -> Iterator[str]:
    if spec.channel and wiring is not None:
        yield from ("-chardev", f"socket,id=channel,fd={wiring.channel_fd}")
        # The default of 31 ports costs a small guest 2 MB of queues; port 0 is kept for a console.
        yield from ("-device", f"{_virtio(spec, 'serial')},max_ports=2")
        yield from ("-device", f"virtserialport,chardev=channel,name={CHANNEL_NAME}")


def _disk_args(spec: MachineSpec, wiring: Wiring | None) -> Iterator[str]:
    fds = iter(wiring.scratch_fds if wiring else ())
    for number, disk in enumerate(spec.disks):
        if disk.path is not None:
            content = f"format={disk.format},{_access(disk)}" + (f",aio={disk.aio}" if disk.aio else "")
            yield from ("-drive", f"if=none,id=disk{number},{content},file={_value(str(disk.path))}")
        elif wiring is not None:
            # A file without a name, which QEMU inherits. Nobody reads it later: no flush has to reach the host's disk.
            yield from ("-drive", f"if=none,id=disk{number},format=raw,cache=unsafe,file=/proc/self/fd/{next(fds)}")
        else:
            # Writes go to a temporary file that QEMU unlinks at once.
            empty = f"driver=null-co,read-zeroes=on,size={disk.size_bytes}"
            yield from ("-drive", f"if=none,id=disk{number},{empty},snapshot=on")
        yield from ("-device", f"{_virtio(spec, 'blk')},drive=disk{number}")


def _network_args(spec: MachineSpec) -> Iterator[str]:
    if spec.network:
        address = _guest_address(spec) if spec.memory_file else ""
        rules = "".join(f",hostfwd={_rule(forward, address)}" for forward in spec.forwards)
        own = f",net={CLONES_NETWORK},host={gateway(spec)},dns={_name_server(spec)}" if spec.memory_file else ""
        yield from ("-netdev", f"user,id={NETWORK}{EGRESS[spec.egress]}{own}{rules}")
        # A clone does not tell the network that it is its template come from elsewhere.
        options = HARDWARE[spec.machine].nic_options + (",guest_announce=off" if spec.memory_file else "")
        # The link is always up: a guest that is not offered its state has less to ask and to set up.
        yield from ("-device", f"{_virtio(spec, 'net')},netdev={NETWORK},status=off{options}")


def _random_args(spec: MachineSpec) -> Iterator[str]:
    # An empty machine needs no randomness.
    if spec.kernel is not None or spec.disks:
        yield from ("-device", _virtio(spec, "rng"))


def forwarding(spec: MachineSpec) -> Iterator[str]:
    """The forwards of a machine, as QEMU's monitor takes them while it runs (``hostfwd_add``)."""
    address = _guest_address(spec) if spec.memory_file else ""
    yield from (f"{NETWORK} {_rule(forward, address)}" for forward in spec.forwards)


def _rule(forward: Forward, address: str) -> str:
    assert forward.host_port is not None, "choose the host ports first"
    return f"tcp:{LOOPBACK}:{forward.host_port}-{address}:{forward.guest_port}"


def address_words(spec: MachineSpec) -> str:
    """The guest's address and gateway, as ``ib.ip=`` has them."""
    own = ADDRESS if spec.memory_file is None else f"{_guest_address(spec)}/{CLONES_NETWORK.prefixlen}"
    return f"{own},{gateway(spec)}"


def gateway(spec: MachineSpec) -> str:
    """The address under which the guest reaches this host's loopback, where it may."""
    return GATEWAY_ADDRESS if spec.memory_file is None else str(CLONES_NETWORK[GATEWAY])


def _network_words(spec: MachineSpec) -> str:
    """The same and the name server; a guest without a way out is told of none, so that it does not wait for answers."""
    return address_words(spec) + (f",{_name_server(spec)}" if spec.egress is Egress.FULL else "")


def _name_server(spec: MachineSpec) -> str:
    return NAME_SERVER_ADDRESS if spec.memory_file is None else str(CLONES_NETWORK[NAME_SERVER])


def _guest_address(spec: MachineSpec) -> str:
    """A clone is numbered by its first host port, which nobody else has at the time. One without ports cannot be met,
    and has its template's address."""
    number = next((forward.host_port or 0 for forward in spec.forwards), 0) if spec.incoming else 0
    return str(CLONES_NETWORK[(number << 6) + FIRST_GUEST])


def _access(disk: Disk) -> str:
    if disk.writable:
        return "cache=unsafe"  # nobody reads it after a crash of the host
    return "snapshot=on" if disk.snapshot else "readonly=on"


def _virtio(spec: MachineSpec, kind: str) -> str:
    return f"virtio-{kind}-{HARDWARE[spec.machine].bus}"


def _value(text: str) -> str:
    """A value in one of QEMU's option lists, where a comma is written twice."""
    return text.replace(",", ",,")


def _cmdline(words: str, boot: Boot, accelerator: Accelerator) -> str:
    more = {Accelerator.KVM: boot.cmdline_kvm, Accelerator.TCG: boot.cmdline_tcg}[accelerator]
    return " ".join(part for part in (words.strip(), more.strip()) if part)


def _forwards(ports: Iterable[int], given: Iterable[Forward]) -> tuple[Forward, ...]:
    """Every port of the image, at the host port that was asked for or at any; then what was asked for besides."""
    asked = {forward.guest_port: forward for forward in given}
    image = [asked.pop(port, Forward(None, port)) for port in ports]
    return (*image, *asked.values())
