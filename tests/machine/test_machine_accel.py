"""Whether KVM works: asked of a real guest, and remembered."""

import signal
import struct
from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.errors import KvmUnusable, ToolMissing
from imagebuilder.machine import accel
from imagebuilder.machine.accel import Accelerator, Choice, Verdict, choose
from imagebuilder.machine.ending import Facts, judge, reason
from imagebuilder.machine.failures import explain
from imagebuilder.machine.probe_guest import LOOPS, probe_guest
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty cache."""
    return Store(tmp_path / "cache")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something that can be opened in place of /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(accel, "DEVICE_FILE", path)
    return path


def answering(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> list[Verdict]:
    """Let the probe give this; returns how often it was asked."""
    asked: list[Verdict] = []

    def probe() -> Verdict:
        asked.append(verdict)
        return verdict

    monkeypatch.setattr(accel, "probe", probe)
    return asked


def test_what_was_asked_for_needs_no_probe(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, Verdict(True, "it ran"))
    assert choose("tcg", store=store) == Choice(Accelerator.TCG, "asked for")
    assert asked == []


@pytest.mark.usefixtures("device")
def test_a_kvm_that_works_is_taken_and_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, Verdict(True, "a guest ran"))
    for wanted in ("auto", "kvm", "auto"):
        assert choose(wanted, store=store) == Choice(Accelerator.KVM, "a guest ran")
    assert len(asked) == 1


@pytest.mark.usefixtures("device")
def test_a_kvm_that_lies_is_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, Verdict(False, "no guest ran"))
    assert choose("auto", store=store) == Choice(Accelerator.TCG, "using TCG: no guest ran")
    with pytest.raises(KvmUnusable, match=r"KVM cannot be used here: no guest ran \(--accel tcg works everywhere"):
        choose("kvm", store=store)
    assert len(asked) == 1


@pytest.mark.usefixtures("device")
def test_another_boot_is_asked_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, Verdict(True, "a guest ran"))
    for boot in ("one", "two", "two"):
        (tmp_path / "boot_id").write_text(boot)
        monkeypatch.setattr(accel, "BOOT_ID", tmp_path / "boot_id")
        choose("auto", store=store)
    assert len(asked) == 2


def test_no_kvm_at_all(store: Store, device: Path) -> None:
    device.unlink()
    choice = choose("auto", store=store)
    assert choice.accelerator is Accelerator.TCG and f"there is no {device}" in choice.why


@pytest.mark.usefixtures("device")
def test_no_qemu(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.process.find", lambda tool: None)
    with pytest.raises(ToolMissing, match="apt-get install qemu-system-x86"):
        choose("auto", store=store)


def test_the_probe_guest_is_a_small_elf_file_with_a_pvh_entry() -> None:
    guest = probe_guest()
    assert guest[:4] == b"\x7fELF" and len(guest) < 512
    entry = struct.unpack_from("<I", guest, 24)[0]
    assert struct.pack("<I4sI", 18, b"Xen\0", entry) in guest


@pytest.mark.vm
def test_the_probe_guest_runs_and_tells_how_long_it_computed() -> None:
    trials = [accel._trial(Accelerator.TCG, limit_s=60)[0] for _ in range(3)]
    long_s, _ = accel._trial(Accelerator.TCG, limit_s=60, content=probe_guest(10 * LOOPS))
    short_s = min(took_s for took_s in trials if took_s is not None)  # of a busy host the least that it kept us waiting
    assert long_s is not None and long_s > 2 * short_s
    took_s, why = accel._trial(Accelerator.TCG, limit_s=short_s, content=probe_guest(100 * LOOPS))
    assert took_s is None and "no sign of life" in why


@pytest.mark.vm
def test_a_guest_that_is_none_did_not_run() -> None:
    took_s, why = accel._trial(Accelerator.TCG, limit_s=60, content=b"nothing of the kind" * 100)
    assert took_s is None and why.startswith("QEMU: ") and "kernel" in why, why


def test_qemus_own_reason_when_kvm_is_refused() -> None:
    """As QEMU 7.2 says it where the host keeps a register to itself."""
    said = (
        "qemu-system-x86_64: error: failed to set MSR 0x38f to 0x7000000ff\n"
        "qemu-system-x86_64: ../target/i386/kvm/kvm.c:3213: kvm_buf_set_msrs: Assertion `ret == n' failed.\n"
    )
    assert reason(said) == "error: failed to set MSR 0x38f to 0x7000000ff"
    end = judge(Facts(qemu_status=-signal.SIGABRT, qemu_said=said))
    assert end.why == "QEMU was ended by SIGABRT: error: failed to set MSR 0x38f to 0x7000000ff"
    refused = explain(
        MachineSpec(MachineType.MICROVM, Accelerator.KVM),
        status=1,
        said="Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: failed to initialize kvm\n",
    )
    assert str(refused) == (
        "KVM cannot be used on this machine (QEMU: Could not access KVM kernel module: Permission denied)"
        " (--accel tcg works everywhere, slower)"
    )
    assert reason("") == "" and len(reason("x" * 100_000)) <= 200
    assert reason("qemu-system-x86_64: warning: hub 0 with no nics\n") == ""  # said of every guest with a way out


@pytest.mark.vm
def test_auto_gives_what_works_here(store: Store) -> None:
    """Whatever this machine has: the same answer twice, and kvm is refused exactly when auto does not take it."""
    choice = choose("auto", store=store)
    assert choose("auto", store=store) == choice and choice.why
    if choice.accelerator is Accelerator.KVM:
        assert choose("kvm", store=store).accelerator is Accelerator.KVM
    else:
        with pytest.raises(KvmUnusable, match="KVM cannot be used here"):
            choose("kvm", store=store)
