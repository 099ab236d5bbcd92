"""QEMU's command line for a machine and a way to start it. Pure: nothing here opens a file or a port.

A root disk comes first and read-only (``/dev/vda``); scratch disks follow. The guest gets the addresses of QEMU's user
network as ``ib.ip=``; ``docs/contracts.md`` has all words of the kernel command line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from imagebuilder.arch import MachineType
from imagebuilder.machine import clock, network
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.network import NETWORK
from imagebuilder.machine.spec import PROGRAM, Accelerator, Disk, MachineSpec
from imagebuilder.recipe.values import Egress

CHANNEL_NAME = "imagebuilder.0"
WORDS = "opt/imagebuilder/words"  # where init looks for further words, in QEMU's fw_cfg
CHANNEL_DEVICE = "vport0p1"  # in the guest: the first port, but for the console's, of the only virtio-serial device
GUARDED = "guarded"  # the name of the wire to the network that has a filter
TRANSLATED_MIB = 48


@dataclass(frozen=True, slots=True)
class Wiring:
    """The file descriptors that QEMU inherits: our two ways to talk to it, the console, and the scratch disks.

    ``state_fd`` gives the device state of a template. ``guest_fd`` and ``network_fd`` are the ends of the wire between
    a guest with a way out and its network (``machine/firewall.py``).
    """

    qmp_fd: int
    console_fd: int
    channel_fd: int
    scratch_fds: tuple[int, ...] = ()
    state_fd: int | None = None
    guest_fd: int | None = None
    network_fd: int | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """What differs between the machines: words behind its name, and what its virtio devices are called."""

    words: str
    bus: str
    extra: tuple[str, ...] = ()
    nic_options: str = ""


HARDWARE: Mapping[MachineType, Hardware] = {
    # The kernel speaks modern virtio only.
    MachineType.MICROVM: Hardware("", "device", extra=("-global", "virtio-mmio.force-legacy=off")),
    # No option ROM: nothing boots from the network here, and the package that brings it is often missing.
    MachineType.Q35: Hardware(",usb=off", "pci", nic_options=",romfile="),
}
ACCELERATOR_ARGS: Mapping[Accelerator, tuple[str, ...]] = {
    Accelerator.KVM: ("-accel", "kvm", "-cpu", "host"),
    # The translator runs string instructions one element at a time, and makes each function that runs before and after
    # the kernel switches SMAP on twice: without the three flags the guest has the same instructions and starts sooner.
    # What it keeps of translated code is bounded, or a guest that never runs its code twice takes 1 GiB of the host.
    Accelerator.TCG: ("-accel", f"tcg,tb-size={TRANSLATED_MIB}", "-cpu", "max,-smap,-erms,-fsrm"),
}
# A restricted network has its forwarded ports and DHCP. IPv6 is off, since it would be one more way out: fec0::2
# is the host's ::1.
EGRESS: Mapping[Egress, str] = {Egress.NONE: ",restrict=on,ipv6=off", Egress.FULL: ",ipv6=off"}


def argv(spec: MachineSpec, launch: Launch = COLD, *, wiring: Wiring | None) -> list[str]:
    """QEMU's command line. Without ``wiring`` it can be pasted into a shell: the console is the terminal, and there is
    neither QMP nor a channel; all forwards must then have their host ports."""
    return [
        PROGRAM,
        *("-name", _value(spec.name)),
        *_machine_args(spec, launch),
        *_processor_args(spec),
        *_count_args(launch),
        *("-m", f"{spec.memory_mib}M", "-smp", str(spec.cpus)),
        *_boot_args(spec, launch, wiring),
        *_qmp_args(wiring),
        *_console_args(wiring),
        *_channel_args(spec, wiring),
        *_disk_args(spec, wiring),
        *_network_args(spec, launch, wiring),
        *_random_args(spec),
    ]


def _machine_args(spec: MachineSpec, launch: Launch) -> Iterator[str]:
    hardware = HARDWARE[spec.machine]
    # Without ACPI, QEMU names the virtio devices on the kernel's command line.
    backend = ",memory-backend=ram" if launch.memory_file else ""
    given = "".join(f",{name}={_value(value)}" for name, value in spec.properties)
    yield from ("-M", f"{spec.machine}{hardware.words},acpi={'on' if spec.acpi else 'off'}{backend}{given}")
    if launch.memory_file:
        share = "on" if launch.memory_file.writable else "off"
        memory = f"id=ram,size={spec.memory_mib}M,share={share},mem-path={_value(str(launch.memory_file.path))}"
        yield from ("-object", f"memory-backend-file,{memory}")
    yield from hardware.extra
    for name, value in spec.global_properties:
        yield from ("-global", f"{name}={value}")
    yield from ("-nodefaults", "-no-user-config", "-display", "none")
    # A machine without ACPI powers off by a reset.
    yield "-no-reboot"
    if launch.paused or launch.incoming:
        yield "-S"
    if launch.incoming:
        yield from ("-incoming", "defer")
    elif launch.memory_file:
        # A clone starts running when it is told to, unlike its template, which was suspended when it was kept.
        yield from ("-global", "migration.store-global-state=off")


def _processor_args(spec: MachineSpec) -> Iterator[str]:
    *words, usual = ACCELERATOR_ARGS[spec.accelerator]
    yield from (*words, spec.cpu_model or usual)


def _count_args(launch: Launch) -> Iterator[str]:
    if launch.icount is not None:
        # A guest that waits waits in real time: without that, an idle one rushes from timer to timer and counts on.
        yield from ("-icount", f"shift={launch.icount},sleep=on")
        yield "-no-shutdown"


def _boot_args(spec: MachineSpec, launch: Launch, wiring: Wiring | None) -> Iterator[str]:
    if spec.firmware is not None:
        yield from ("-bios", str(spec.firmware))
    if spec.flash is not None:
        for unit, path, access in ((0, spec.flash.code, "readonly=on"), (1, spec.flash.variables, "snapshot=on")):
            yield from ("-drive", f"if=pflash,unit={unit},format=raw,{access},file={_value(str(path))}")
    if spec.kernel is None:
        if words := " ".join(_own_words(spec, launch, wiring)):
            yield from ("-fw_cfg", f"name={WORDS},string={_value(words)}")
        return
    yield from ("-kernel", str(spec.kernel))
    if spec.initrd is not None:
        yield from ("-initrd", str(spec.initrd))
    if words := " ".join(_words(spec, launch, wiring)):
        yield from ("-append", words)


def _words(spec: MachineSpec, launch: Launch, wiring: Wiring | None) -> Iterator[str]:
    """The kernel's command line: the image's own words, then what only this machine knows."""
    yield from spec.cmdline.split()
    if spec.foreign or launch.incoming:  # a clone's kernel has read its own long ago
        return
    tsc_khz = clock.COUNTED_KHZ if launch.icount is not None else spec.tsc_khz
    if spec.accelerator is Accelerator.TCG and tsc_khz:
        yield f"tsc_early_khz={tsc_khz}"  # else it is measured against the PIT, for some ms of real time
    if spec.network:
        yield f"ib.ip={network.network_words(spec, launch)}"
    yield from _own_words(spec, launch, wiring)


def _own_words(spec: MachineSpec, launch: Launch, wiring: Wiring | None) -> Iterator[str]:
    """How init talks to us. The guest of a disk is told no more: it finds its network as it would elsewhere."""
    if spec.channel and wiring is not None:
        yield f"ib.channel={CHANNEL_DEVICE}"
        # One that is counted is asked when it rests, and a look meanwhile would be counted too.
        if spec.forwards and launch.icount is None:
            yield "ib.listen=1"
        if spec.given:
            yield "ib.given=1"


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
            # A file without a name, which QEMU inherits. It is not read later: no flush has to reach the host's disk.
            yield from ("-drive", f"if=none,id=disk{number},format=raw,cache=unsafe,file=/proc/self/fd/{next(fds)}")
        else:
            # Writes go to a temporary file that QEMU unlinks at once.
            empty = f"driver=null-co,read-zeroes=on,size={disk.size_bytes}"
            yield from ("-drive", f"if=none,id=disk{number},{empty},snapshot=on")
        first = ",bootindex=0" if disk.boots else ""
        yield from ("-device", f"{_virtio(spec, 'blk')},drive=disk{number}{first}")


def _network_args(spec: MachineSpec, launch: Launch, wiring: Wiring | None) -> Iterator[str]:
    if spec.network:
        address = network.guest_address(spec, launch) if launch.memory_file else ""
        rules = "".join(f",hostfwd={network.rule(forward, address)}" for forward in spec.forwards)
        subnet = f",net={network.CLONES_NETWORK},host={network.gateway(launch)},dns={network.name_server(launch)}"
        own = subnet if launch.memory_file else ""
        yield from ("-netdev", f"user,id={NETWORK}{EGRESS[spec.egress]}{own}{rules}")
        guards = tuple(_guard_args(wiring)) if wiring is not None and wiring.guest_fd is not None else ()
        yield from guards
        # A clone does not tell the network that it is its template come from elsewhere.
        options = HARDWARE[spec.machine].nic_options + (",guest_announce=off" if launch.memory_file else "")
        # The link is always up: a guest that is not offered its state has less to ask and to set up.
        yield from ("-device", f"{_virtio(spec, 'net')},netdev={GUARDED if guards else NETWORK},status=off{options}")


def _guard_args(wiring: Wiring) -> Iterator[str]:
    """The user network behind the wire with the filter; a hub is what QEMU connects two backends by."""
    yield from ("-netdev", f"dgram,id={GUARDED},local.type=fd,local.str={wiring.guest_fd}")
    yield from ("-netdev", f"dgram,id=wire,local.type=fd,local.str={wiring.network_fd}")
    for name in (NETWORK, "wire"):
        yield from ("-netdev", f"hubport,id=hub-{name},hubid=0,netdev={name}")


def _random_args(spec: MachineSpec) -> Iterator[str]:
    # An empty machine needs no randomness.
    if spec.kernel is not None or spec.disks:
        yield from ("-device", _virtio(spec, "rng"))


def _access(disk: Disk) -> str:
    if disk.writable:
        return "cache=unsafe"  # it is not read after a crash of the host
    return "snapshot=on" if disk.snapshot else "readonly=on"


def _virtio(spec: MachineSpec, kind: str) -> str:
    return f"virtio-{kind}-{HARDWARE[spec.machine].bus}"


def _value(text: str) -> str:
    """A value in one of QEMU's option lists, where a comma is written twice."""
    return text.replace(",", ",,")
