"""Whether KVM really works here.

That ``/dev/kvm`` opens, and even that a virtual machine can be made, says nothing: only a guest that ran does. The same
tiny guest is run under TCG and then under KVM, which may take a few times as long at most; where KVM works it takes
less. The answer is remembered for this boot of this host and this QEMU.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagebuilder import process
from imagebuilder.arch import MachineType
from imagebuilder.errors import KvmUnusable, MachineError
from imagebuilder.machine.child import Child
from imagebuilder.machine.command_line import ACCELERATOR_ARGS
from imagebuilder.machine.ending import Facts, judge, reason
from imagebuilder.machine.probe_guest import DEVICE, EXIT_STATUS, probe_guest
from imagebuilder.machine.spec import PROGRAM, Accelerator
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store, key_of, sha256

__all__ = ["Accelerator", "Choice", "choose"]

DEVICE_FILE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TCG_LIMIT_S = 60.0
SLOWER = 10  # so many times as long as under TCG, and it is not run but emulated


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs the guests, and a line that says why."""

    accelerator: Accelerator
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether KVM works, and why not."""

    works: bool
    why: str


def choose(wanted: Literal["auto", "kvm", "tcg"] | str, *, store: Store | None = None) -> Choice:
    """The accelerator for a word of the user. Raises KvmUnusable for ``kvm`` where no guest runs under it,
    ToolMissing without QEMU: better before a build than after it."""
    process.require(PROGRAM)
    if wanted == Accelerator.TCG:
        return Choice(Accelerator.TCG, "asked for")
    verdict = _openable() or _remembered(store or Store(cache_dir()))
    if verdict.works:
        return Choice(Accelerator.KVM, verdict.why)
    if wanted == Accelerator.KVM:
        raise KvmUnusable(f"KVM cannot be used here: {verdict.why}", hint="--accel tcg works everywhere, slower")
    return Choice(Accelerator.TCG, f"using TCG: {verdict.why}")


def _openable() -> Verdict | None:
    """What can be said without starting anything; never remembered, since the user may mend it."""
    if not DEVICE_FILE.exists():
        return Verdict(False, f"there is no {DEVICE_FILE}")
    if not os.access(DEVICE_FILE, os.R_OK | os.W_OK):
        return Verdict(False, f"you may not open {DEVICE_FILE} (are you in its group?)")
    return None


def _remembered(store: Store) -> Verdict:
    key = key_of(_circumstances())
    with store.lock(key):
        record = store.record(key)
        if record is not None:
            return Verdict(bool(record["works"]), str(record["why"]))
        verdict = probe()
        store.keep(key, {"works": verdict.works, "why": verdict.why})
    return verdict


def _circumstances() -> Mapping[str, object]:
    """What the answer depends on: the host since it was started, the QEMU, the guest."""
    qemu = process.require(PROGRAM).resolve()
    found = qemu.stat()
    return {
        "probe": "kvm/2",
        "boot": BOOT_ID.read_text().strip(),
        "device": DEVICE_FILE.stat().st_rdev,
        "qemu": [str(qemu), found.st_size, found.st_mtime_ns],
        "guest": sha256(probe_guest()),
        "slower": SLOWER,
    }


def probe() -> Verdict:
    """Run the tiny guest under TCG, then under KVM. Raises MachineError when QEMU cannot even do the first."""
    tcg_s, tcg_why = _trial(Accelerator.TCG, limit_s=TCG_LIMIT_S)
    if tcg_s is None:
        raise MachineError(
            f"QEMU cannot run the smallest guest: {tcg_why}", hint=f"is it complete? {PROGRAM} --version"
        )
    kvm_s, kvm_why = _trial(Accelerator.KVM, limit_s=SLOWER * tcg_s)
    if kvm_s is None:
        return Verdict(False, f"a test guest did not run under KVM ({kvm_why})")
    return Verdict(True, f"a guest ran under KVM in {kvm_s * 1e3:.0f} ms (TCG: {tcg_s * 1e3:.0f} ms)")


def _trial(accelerator: Accelerator, *, limit_s: float, content: bytes | None = None) -> tuple[float | None, str]:
    """How long the guest took from spawn to its signal in seconds; or nothing, and why."""
    with tempfile.TemporaryFile() as guest:
        guest.write(content or probe_guest())
        guest.flush()
        # The file has no name: QEMU inherits it.
        child = Child.spawn(_argv(accelerator, Path(f"/proc/self/fd/{guest.fileno()}")), fds=(guest.fileno(),))
        try:
            status = child.wait_for(limit_s)
            took_s = (time.monotonic_ns() - child.spawned_ns) / 1e9
        finally:
            child.close()
    if status == EXIT_STATUS:
        return took_s, "it ran"
    if status is None:
        return None, f"no sign of life in {limit_s:.1f} s, of which it takes a tenth under TCG"
    said = reason(child.output)
    return None, f"QEMU: {said}" if said else judge(Facts(qemu_status=status)).why


def _argv(accelerator: Accelerator, guest: Path) -> list[str]:
    return [
        PROGRAM,
        *("-M", f"{MachineType.MICROVM},acpi=off"),
        *ACCELERATOR_ARGS[accelerator],
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-m", "16M", "-kernel", str(guest), "-device", DEVICE),
    ]
