"""What a machine is that runs one command while an image is built, and gives what that changed in a file. Pure: what
starts it is handed to the step that needs it.

It sees nothing that could differ the next time: its root is in memory, its clock counts the instructions that it
executed from a fixed time on, its random numbers come from a fixed seed, its processor is a model that every QEMU
emulates, and it has no network. So the same command on the same tree does the same, whatever else this host does. With
a network there is no such promise, and its clock is the host's.

Its first program (``platforms/linux/preparer``) writes to a disk of a bounded size, whose first block says how it went.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from imagebuilder.arch import TARGET, MachineType
from imagebuilder.errors import MachineError
from imagebuilder.events import Say

MIB_BYTES = 1 << 20
HEAD_BYTES = 4096
RESULT = re.compile(
    rb"imagebuilder\.changes/1 "
    rb"(?:exit (?P<status>\d{1,3}) bytes (?P<bytes>\d{1,15}) members \d{1,9}|error (?P<why>[ -~]*))\n\0+"
)
# AVX2 and what came before it; without what needs a host's random numbers, or what only a host's processor has.
PROCESSOR = "Haswell-v1,-pcid,-tsc-deadline,-invpcid,-x2apic,-hle,-rtm,-rdrand,-smap,-erms"
# 2**2 ns for each instruction: a processor of 250 MHz, whose clock goes no faster than the emulator on most hosts.
COUNTED = ("-icount", "shift=2,sleep=off")
TRANSLATED_MIB = 256
# On a full disk QEMU would stop its guest and wait for room on the disk.
REPORTED = "werror=report,rerror=report"
MORE_MEMORY = "give it more with memory_mib under [[prepare]]: three quarters of it can be written"
MORE_ROOM = "free some disk space where the cache is"
UNWRITTEN = "cannot write "  # how its first program says that the host's disk took no more


@dataclass(frozen=True, slots=True)
class Preparation:
    """``root`` is an EROFS image that is used in memory, of ``root_mib``; ``memory_mib`` are there besides. ``changes``
    is a file of ``changes_mib`` (None: nothing is kept, as for a command line to be pasted), ``epoch_s`` the time at
    which the machine's clock begins."""

    name: str
    kernel: Path
    cmdline: str
    root: Path
    root_mib: int
    changes: Path | None
    changes_mib: int
    memory_mib: int
    epoch_s: int
    network: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the command ended: its exit status (128 and a signal's number for one that a signal ended), the bytes of the
    stream of changes, and what the console showed at last."""

    status: int
    stream_bytes: int
    console: tuple[str, ...]


class NotPrepared(MachineError):
    """The machine did not come to an end; ``console`` is what it showed at last."""

    def __init__(self, message: str, console: tuple[str, ...], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.console = console


class Preparer(Protocol):
    """What starts such a machine."""

    def run(self, wanted: Preparation, *, timeout_s: float, say: Say) -> Outcome:
        """Run it to its end. Raises NotPrepared, ToolMissing."""


def argv(wanted: Preparation, wire: tuple[int, int] | None = None) -> list[str]:
    """QEMU's command line. Pure; ``wire`` are the two ends of the way to the network."""
    begin = datetime.fromtimestamp(wanted.epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return [
        TARGET.qemu,
        *("-name", f"prepare-{wanted.name}"),
        *("-M", f"{MachineType.MICROVM},acpi=off,rtc=on", "-global", "virtio-mmio.force-legacy=off"),
        *("-accel", f"tcg,tb-size={TRANSLATED_MIB}", "-cpu", PROCESSOR),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-m", f"{wanted.root_mib + wanted.memory_mib}M"),
        *("-kernel", str(wanted.kernel), "-initrd", str(wanted.root)),
        *("-append", f"{wanted.cmdline} root=memory ro init=/init"),
        *("-serial", "stdio"),
        *("-drive", f"if=none,id=changes,{_disk(wanted)}", "-device", f"virtio-blk-device,drive=changes,{REPORTED}"),
        *("-seed", "1"),
        *(_network_args(wire) if wanted.network else (*COUNTED, "-rtc", f"base={begin},clock=vm")),
    ]


def shell_line(wanted: Preparation) -> str:
    """Its command line, to be pasted."""
    return shlex.join(argv(wanted))


def outcome(wanted: Preparation, console: Sequence[str]) -> Outcome:
    """What the first block of its disk says of how it went. Raises NotPrepared."""
    assert wanted.changes is not None
    with wanted.changes.open("rb") as stream:
        found = RESULT.fullmatch(stream.read(HEAD_BYTES))
    if found is None:
        raise NotPrepared("did not end: its machine did before", (*console,), hint=MORE_MEMORY)
    if found["why"] is not None:
        why = found["why"].decode()
        is_full = why.startswith(UNWRITTEN)
        raise NotPrepared(f"was given up: {why}", (*console,), hint=MORE_ROOM if is_full else MORE_MEMORY)
    return Outcome(int(found["status"]), int(found["bytes"]), (*console,))


def _disk(wanted: Preparation) -> str:
    if wanted.changes is None:
        return f"driver=null-co,read-zeroes=on,size={wanted.changes_mib * MIB_BYTES}"
    return f"format=raw,cache=unsafe,file={str(wanted.changes).replace(',', ',,')}"


def _network_args(wire: tuple[int, int] | None) -> Iterator[str]:
    """The user network, behind the filter that keeps this host's loopback from a guest where there is a wire."""
    yield from ("-netdev", "user,id=net,ipv6=off")
    if wire is not None:
        yield from ("-netdev", f"dgram,id=guarded,local.type=fd,local.str={wire[0]}")
        yield from ("-netdev", f"dgram,id=wire,local.type=fd,local.str={wire[1]}")
        for name in ("net", "wire"):
            yield from ("-netdev", f"hubport,id=hub-{name},hubid=0,netdev={name}")
    yield from ("-device", f"virtio-net-device,netdev={'net' if wire is None else 'guarded'}")
