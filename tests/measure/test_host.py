"""The machine that measures."""

import os
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.measure import host


@pytest.mark.tools
def test_of_this_machine() -> None:
    found = host.host("tcg")
    assert found.accelerator == "tcg"
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.kernel is not None and found.kernel.startswith("Linux ")


@pytest.mark.tools
@pytest.mark.skipif(process.find(TARGET.qemu) is None, reason="QEMU is not installed")
def test_qemu_version_is_a_version() -> None:
    version = host.qemu_version()
    assert version is not None and version[0].isdigit() and "." in version


def test_without_qemu_the_version_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda tool: None)
    assert host.host().qemu is None


def test_cpu_model(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 2 GHz\n")
    assert host.cpu_model(info) == "Some CPU @ 2 GHz"
    info.write_text("processor\t: 0\n")
    assert host.cpu_model(info) is host.cpu_model(tmp_path / "none") is None
