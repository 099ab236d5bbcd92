"""The host's time stamp counter: what /proc/cpuinfo tells of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.machine import clock
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.spec import Accelerator, MachineSpec

AMD = """\
processor\t: 0
flags\t\t: fpu tsc constant_tsc nonstop_tsc
bogomips\t: 5192.26

processor\t: 1
bogomips\t: 1.00
"""
SPEC = MachineSpec(MachineType.MICROVM, Accelerator.TCG, cmdline="quiet", tsc_khz=2_596_130)


def test_twice_its_mhz_is_what_linux_prints() -> None:
    assert clock.tsc_khz(AMD) == 2_596_130


@pytest.mark.parametrize("word", ["constant_tsc", "nonstop_tsc", "bogomips"])
def test_one_that_is_not_steady_is_not_believed(word: str) -> None:
    assert clock.tsc_khz(AMD.replace(word, "other")) is None


def test_another_processor_has_none() -> None:
    assert clock.tsc_khz("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n") is None


def words(spec: MachineSpec, launch: Launch = COLD) -> list[str]:
    line = argv(replace(spec, kernel=Path("/k")), launch, wiring=None)
    return [word for word in line[line.index("-append") + 1].split() if word.startswith("tsc_")]


def test_a_translated_guest_is_told() -> None:
    assert words(SPEC) == ["tsc_early_khz=2596130"]
    assert words(replace(SPEC, tsc_khz=None)) == []


def test_one_that_is_counted_has_a_counter_of_its_own() -> None:
    assert words(SPEC, Launch(icount=0)) == ["tsc_early_khz=1000000"]


@pytest.mark.parametrize("other", [replace(SPEC, accelerator=Accelerator.KVM), replace(SPEC, foreign=True)])
def test_others_are_not(other: MachineSpec) -> None:
    assert words(other) == []
