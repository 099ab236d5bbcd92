"""The init program as a file: built the same way everywhere, and never something else than its record says."""

import io
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from imagebuilder import process
from imagebuilder.errors import ToolMissing
from imagebuilder.events import Begun, Event
from imagebuilder.guest import build
from imagebuilder.store import Store

needs_compiler = pytest.mark.skipif(process.find(build.COMPILER) is None, reason="musl-gcc is not installed")
LARGEST_BYTES = 50_000


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the sources, to change."""
    return Path(shutil.copytree(build.SOURCES, tmp_path / "elsewhere" / "src"))


@pytest.fixture
def prebuilt(tmp_path: Path) -> Path:
    """A copy of the ready-built program and its record, to change."""
    return Path(shutil.copytree(build.PREBUILT, tmp_path / "prebuilt"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def edit(sources: Path) -> None:
    """Change what the program does."""
    text = (sources / "main.c").read_text()
    assert "it does nothing elsewhere" in text
    (sources / "main.c").write_text(text.replace("it does nothing elsewhere", "and of nothing else"))


def test_the_ready_built_program_is_of_these_sources() -> None:
    program = build.ready_built()
    assert program is not None, "run: python -m imagebuilder.guest build"
    assert len(program) <= LARGEST_BYTES


def test_it_needs_nothing_and_names_nobody() -> None:
    program = (build.PREBUILT / "init").read_bytes()
    elf = ELFFile(io.BytesIO(program))
    kinds = {segment["p_type"] for segment in elf.iter_segments()}
    assert elf["e_type"] == "ET_EXEC" and elf["e_machine"] == "EM_X86_64"
    assert not kinds & {"PT_INTERP", "PT_DYNAMIC"}
    assert not [
        section.name for section in elf.iter_sections() if section.name.startswith((".debug", ".note", ".symtab"))
    ]
    assert str(build.HERE.parent).encode() not in program


@needs_compiler
def test_built_again_it_is_the_same() -> None:
    kept = build.read_record()
    assert kept is not None
    if kept.compiler != build.compiler_version():
        pytest.skip(f"the ready-built program is from {kept.compiler}, here is another compiler")
    assert build.verify_init() == ()


@needs_compiler
def test_the_folder_does_not_matter(sources: Path) -> None:
    assert build.build_init(sources) == build.build_init()


@needs_compiler
def test_the_compiler_has_nothing_to_say(tmp_path: Path) -> None:
    units = sorted(path.name for path in build.SOURCES.glob("*.c"))
    done = process.run(
        [build.COMPILER, *build.FLAGS, "-Wshadow", "-Wvla", "-Werror", "-o", tmp_path / "init", *units],
        cwd=build.SOURCES,
    )
    assert done.stderr == b""


@needs_compiler
def test_a_tampered_program_is_seen_and_not_used(prebuilt: Path, store: Store) -> None:
    program = bytearray((prebuilt / "init").read_bytes())
    program[-1] ^= 1
    (prebuilt / "init").write_bytes(program)
    assert "the ready-built init is not the one of its record" in build.verify_init(prebuilt)
    assert build.ready_built(prebuilt) is None
    assert build.provide_init(store, prebuilt=prebuilt).read() != bytes(program)


@needs_compiler
def test_changed_sources_are_compiled_once(prebuilt: Path, sources: Path, store: Store) -> None:
    edit(sources)
    assert build.init_key(sources) != build.init_key()
    assert any(line.startswith("sources: ") for line in build.verify_init(prebuilt, sources))
    said: list[Event] = []
    first = build.provide_init(store, said.append, prebuilt=prebuilt, sources=sources)
    again = build.provide_init(store, said.append, prebuilt=prebuilt, sources=sources)
    assert b"and of nothing else" in first.read() and again == first
    assert [event.title for event in said if isinstance(event, Begun)] == ["Compiling init"]
    store.blob(first.digest).write_bytes(b"damaged")
    assert build.provide_init(store, prebuilt=prebuilt, sources=sources) == first


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"flags": 3}'])
def test_a_record_that_makes_no_sense_is_none(prebuilt: Path, damage: str) -> None:
    (prebuilt / "record.json").write_text(damage)
    assert build.read_record(prebuilt) is None
    assert build.ready_built(prebuilt) is None
    assert build.verify_init(prebuilt) == ("the record of the ready-built init is missing or unreadable",)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, sources: Path, store: Store, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.provide_init(store).size_bytes <= LARGEST_BYTES
    edit(sources)
    with pytest.raises(ToolMissing, match="musl-gcc to compile it is not installed") as caught:
        build.provide_init(store, sources=sources)
    assert caught.value.hint is not None and "musl-tools" in caught.value.hint
