"""Prebuilt programs: built the same way everywhere, and never something else than their records say."""

import shutil
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.images.bios import STAGE
from imagebuilder.images.uefi import STUB
from imagebuilder.machine.forkserver.library import LIBRARY
from imagebuilder.platforms.linux.build import INIT
from imagebuilder.platforms.linux.tracer import TRACER
from imagebuilder.prebuilt.program import Program, main

pytestmark = pytest.mark.tools

MODULES = {
    INIT.name: "imagebuilder.platforms.linux",
    LIBRARY.name: "imagebuilder.machine.forkserver",
    STAGE.name: "imagebuilder.images.bios",
    STUB.name: "imagebuilder.images.uefi",
    TRACER.name: "imagebuilder.platforms.linux.tracer",
}


@pytest.fixture(params=[INIT, LIBRARY, STAGE, STUB, TRACER], ids=lambda each: str(each.name))
def program(request: pytest.FixtureRequest) -> Program:
    """As it is kept."""
    found: Program = request.param
    return found


@pytest.fixture
def compiled(program: Program) -> Program:
    """One that can be compiled here."""
    if process.find(program.compiler) is None:
        pytest.skip(f"{program.compiler} is not installed")
    return program


@pytest.fixture
def other(program: Program, tmp_path: Path) -> Program:
    """A copy, to change."""
    return program.elsewhere(
        sources=Path(shutil.copytree(program.sources, tmp_path / "src")),
        prebuilt=Path(shutil.copytree(program.prebuilt, tmp_path / "prebuilt")),
    )


def test_the_prebuilt_one_is_of_these_sources(program: Program) -> None:
    assert program.read() is not None, f"run: python -m {MODULES[program.name]} build"


def test_built_again_it_is_the_same(compiled: Program) -> None:
    kept = compiled.read_record()
    assert kept is not None
    if kept.compiler != compiled.compiler_version:
        pytest.skip(f"the prebuilt program is from {kept.compiler}, here is another compiler")
    assert compiled.verify() == ()


def test_the_folder_does_not_matter(compiled: Program, other: Program) -> None:
    assert other.build() == compiled.build()


def test_the_compiler_has_nothing_to_say(compiled: Program, tmp_path: Path) -> None:
    units = sorted(path.name for path in compiled.sources.glob("*.[cS]"))
    strict = ("-Wshadow", "-Wvla", "-Werror")
    words = [compiled.compiler, *compiled.flags, *strict, "-o", str(tmp_path / "program"), *units]
    assert process.run(words, cwd=compiled.sources).stderr == b""


def test_a_tampered_one_is_seen(compiled: Program, other: Program) -> None:
    content = bytearray(other.file.read_bytes())
    content[-1] ^= 1
    other.file.write_bytes(content)
    assert other.read() is None
    assert f"the prebuilt {other.name} is not the one of its record" in other.verify()


def test_other_sources_are_seen(compiled: Program, other: Program) -> None:
    unit = next(iter(sorted(other.sources.glob("*.[cS]"))))
    unit.write_text(unit.read_text() + "\n/* one more */\n")
    assert other.read() is None
    assert any(line.startswith("sources: ") for line in other.verify())


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"flags": 3}'])
def test_a_record_that_makes_no_sense_is_none(other: Program, damage: str) -> None:
    (other.prebuilt / "record.json").write_text(damage)
    assert other.read_record() is None
    assert other.read() is None
    assert other.verify() == (f"the record of the prebuilt {other.name} is missing or unreadable",)


def test_the_command_writes_and_verifies(
    compiled: Program, other: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other.file.unlink()
    for verb, status, said in (("verify", 1, "not the one"), ("build", 0, " bytes, "), ("verify", 0, "same bytes")):
        monkeypatch.setattr("sys.argv", ["", verb])
        assert main(other, MODULES[other.name]) == status
        assert said in "".join(capsys.readouterr())
