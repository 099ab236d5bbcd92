"""Why a QEMU did not start, in words that say what to do."""

import errno
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from imagebuilder import private
from imagebuilder.errors import GuestFailed, ImagebuilderError, InputError, KvmUnusable, MachineError
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ending import Facts, judge
from imagebuilder.machine.excerpt import excerpt
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.spec import LOOPBACK, MachineSpec
from imagebuilder.process import shell_line

COMMAND, QEMU_SAID = "command.txt", "qemu-stderr.log"


class PortTaken(MachineError):
    """Another process listens at the host port already. ``port`` is its number."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of this machine is taken: give another one", hint=f"ss -ltnp 'sport = :{port}'")
        self.port = port


def check_free(port: int) -> None:
    """Raise PortTaken when a process listens at this port of 127.0.0.1 now; 0 is any free one."""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(port) from error
            raise MachineError(f"port {port} of this machine cannot be had: {error.strerror}") from error


def _port_taken(match: re.Match[str], spec: MachineSpec) -> MachineError:
    return PortTaken(int(match[1]))


def _no_memory(match: re.Match[str], spec: MachineSpec) -> MachineError:
    return MachineError(
        f"this machine has not enough memory for a guest of {spec.memory_mib} MiB",
        hint="give --memory, or close other programs",
    )


def _no_kvm(match: re.Match[str], spec: MachineSpec) -> KvmUnusable:
    said = excerpt(match.string[match.start() :].partition("\n")[0])
    return KvmUnusable(
        f"KVM cannot be used on this machine (QEMU: {said})", hint="--accel tcg works everywhere, slower"
    )


def _no_room(match: re.Match[str], spec: MachineSpec) -> GuestFailed:
    needs = f" ({-(-int(match[2]) >> 20)} MiB)"
    return GuestFailed(
        f"{spec.name}: its root{needs} does not fit into a machine of {spec.memory_mib} MiB",
        hint="give it more: machine.memory_mib of the recipe, or --memory",
    )


def _no_kernel(match: re.Match[str], spec: MachineSpec) -> MachineError:
    return MachineError(f"QEMU cannot load the kernel {spec.kernel}: build the image again")


# What QEMU says -> what we say. The spelling is that of QEMU 7.2 to 10.
ROWS: Mapping[str, Callable[[re.Match[str], MachineSpec], ImagebuilderError]] = {
    r"Could not set up host forwarding rule 'tcp:[\d.]+:(\d{1,5})-": _port_taken,
    r"initrd is too large, cannot support.\s*\(max: (\d{1,15}), need (\d{1,15})": _no_room,
    r"cannot set up guest memory|cannot allocate memory|Cannot allocate memory": _no_memory,
    r"Could not access KVM|failed to initialize kvm|invalid accelerator kvm": _no_kvm,
    r"could not (load|open) kernel|Error loading uncompressed kernel|invalid kernel header|kernel too old": _no_kernel,
}


def explain(spec: MachineSpec, launch: Launch = COLD, *, status: int, said: str) -> ImagebuilderError:
    """The error for a QEMU that ended before it greeted us, with what it said as evidence."""
    error = _explained(spec, status, said)
    error.evidence = {COMMAND: shell_line(argv(spec, launch, wiring=None)) + "\n", QEMU_SAID: said}
    return error


def _explained(spec: MachineSpec, status: int, said: str) -> ImagebuilderError:
    for pattern, error in ROWS.items():
        match = re.search(pattern, said)
        if match is not None:
            return error(match, spec)
    why = judge(Facts(qemu_status=status, qemu_said=said, started=False, memory_mib=spec.memory_mib)).why
    if status == 0:  # the guest was quicker than our greeting
        return GuestFailed(f"{spec.name}: {why}")
    return MachineError(f"{spec.name}: the machine did not start: {why}")


def write_evidence(error: ImagebuilderError, folder: Path) -> bool:
    """Write what there is to see of a machine that did not start; returns whether there is something."""
    if error.evidence:
        private.make_folder(folder)
        for name, content in error.evidence.items():
            private.write(folder / name, content.encode())
    return bool(error.evidence)


def check_files(spec: MachineSpec, launch: Launch = COLD) -> None:
    """Raises InputError when a file of the machine is missing, or may not be used as QEMU does."""
    files = (spec.kernel, spec.initrd, *(disk.path for disk in spec.disks))
    for path in filter(None, files):
        if not path.is_file():
            raise InputError(f"{path} is missing: build the image again")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} may not be read by you: change its permissions")
    memory = launch.memory_file.path if launch.memory_file else None
    if memory and memory.exists() and not os.access(memory, os.W_OK):
        raise InputError(
            f"{spec.name} cannot be cloned: QEMU opens a template's memory for writing, and {memory} can only be read",
            hint="set IMAGEBUILDER_CACHE to another folder",
        )
