"""A sleep is found where it is: before QEMU begins, and in init."""

import os
from pathlib import Path
from shutil import which

import pytest

from imagebuilder import process
from imagebuilder.machine.spec import PROGRAM, Accelerator
from imagebuilder.measure import rounds, subject
from imagebuilder.measure.change import Verdict
from imagebuilder.measure.compare import Comparison, apart, paired
from imagebuilder.measure.rounds import Schedule, Taken

from .busy import busy
from .images import Make

TCG = Accelerator.TCG
SLEPT = 2  # times what the host adds without: measured beside it, since a load stretches both
ROUNDS = 20
GUEST = {"kernel", "init", "network", "application"}  # phases that no sleep of the host is seen in
# Sleeps before it becomes QEMU, when a word of the command line is NAME, or always when NAME is empty.
SLEEPER = """\
#include <string.h>
#include <unistd.h>
int main(int count, char **words)
{
    int named = !*NAME;
    for (int n = 1; n < count; n++)
        named |= !strcmp(words[n], NAME);
    if (named)
        usleep(SLEEP_US);
    execv(QEMU, words);
    return 127;
}
"""


def sleeper(folder: Path, name: str, sleep_ms: float) -> str:
    """A PATH on which QEMU's name is that of a program that sleeps."""
    folder.mkdir()
    (folder / "sleeper.c").write_text(SLEEPER)
    words = {"NAME": f'"{name}"', "QEMU": f'"{which(PROGRAM)}"', "SLEEP_US": round(sleep_ms * 1000)}
    defined = [f"-D{key}={value}" for key, value in words.items()]
    process.run(["gcc", "-O1", *defined, "-o", folder / PROGRAM, folder / "sleeper.c"])
    return f"{folder}:{os.environ['PATH']}"


def sleep_ms(image: Taken) -> float:
    """How long the host is to sleep, by what it adds to the starts of this image."""
    assert image.startup.host_ms is not None
    return SLEPT * image.startup.host_ms.median


def said(comparison: Comparison) -> dict[str, Verdict]:
    """The differences that were seen."""
    return {change.what: change.verdict for change in comparison.changes if change.verdict.differs}


@pytest.mark.vm
@pytest.mark.slow
async def test_a_sleep_before_qemu_is_found_in_the_same_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = [subject.of_bundle(make(0, 0, init_too=code), TCG) for code in ("", "(void)0;")]
    (without,) = await rounds.measure(subjects[:1], Schedule(runs=ROUNDS // 2))
    monkeypatch.setenv("PATH", sleeper(tmp_path / "bin", subjects[1].spec.name, sleep_ms(without)))
    quick, slow = await rounds.measure(subjects, Schedule(runs=ROUNDS))
    found = paired(slow.startup, quick.startup, reference="quick")
    print(found)
    assert said(found)["host"] is Verdict.SLOWER
    assert not said(found).keys() & GUEST
    back = paired(quick.startup, slow.startup, reference="slow")
    assert said(back)["host"] is Verdict.FASTER


@pytest.mark.vm
@pytest.mark.slow
async def test_a_sleep_before_qemu_is_found_against_a_report(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the host has other work in one of the two runs, which moves everything else."""
    image = [subject.of_bundle(make(0, 0), TCG)]
    (before,) = await rounds.measure(image, Schedule(runs=ROUNDS))
    monkeypatch.setenv("PATH", sleeper(tmp_path / "bin", "", sleep_ms(before)))
    with busy():
        (after,) = await rounds.measure(image, Schedule(runs=ROUNDS))
    comparison = apart(after.startup, before.startup, reference="before")
    print(comparison)
    assert said(comparison)["host"] is Verdict.SLOWER
    assert not said(comparison).keys() & GUEST


@pytest.mark.vm
@pytest.mark.slow
async def test_a_sleep_in_init_is_found(make: Make) -> None:
    subjects = [subject.of_bundle(make(0, 0, init_too=code), TCG) for code in ("", "usleep(50000);")]
    quick, slow = await rounds.measure(subjects, Schedule(runs=ROUNDS))
    found = paired(slow.startup, quick.startup, reference="quick")
    print(found)
    assert said(found)["init"] is Verdict.SLOWER
    assert said(found).keys() <= {"init", "ready"}
