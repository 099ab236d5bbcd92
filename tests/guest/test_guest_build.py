"""The init program: static, small, and never something else than its record says (tests/test_prebuilt.py)."""

import io
import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from imagebuilder import process
from imagebuilder.errors import ToolMissing
from imagebuilder.events import Begun, Event
from imagebuilder.platforms.linux import build
from imagebuilder.platforms.linux.build import INIT
from imagebuilder.prebuilt.program import Program
from imagebuilder.store import Store

needs_compiler = pytest.mark.skipif(process.find(build.COMPILER) is None, reason="musl-gcc is not installed")
LARGEST_BYTES = 54_000


@pytest.fixture
def init(tmp_path: Path) -> Program:
    """A copy of the program, to change."""
    folder = tmp_path / "elsewhere"
    return INIT.elsewhere(
        sources=Path(shutil.copytree(INIT.sources, folder / "src")),
        prebuilt=Path(shutil.copytree(INIT.prebuilt, folder / "prebuilt")),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def edit(init: Program) -> None:
    """Change what the program does."""
    text = (init.sources / "main.c").read_text()
    assert "it does nothing elsewhere" in text
    (init.sources / "main.c").write_text(text.replace("it does nothing elsewhere", "and of nothing else"))


def test_it_needs_nothing_and_names_nobody() -> None:
    program = INIT.file.read_bytes()
    assert len(program) <= LARGEST_BYTES
    elf = ELFFile(io.BytesIO(program))
    kinds = {segment["p_type"] for segment in elf.iter_segments()}
    assert elf["e_type"] == "ET_EXEC" and elf["e_machine"] == "EM_X86_64"
    assert not kinds & {"PT_INTERP", "PT_DYNAMIC"}
    assert not [
        section.name for section in elf.iter_sections() if section.name.startswith((".debug", ".note", ".symtab"))
    ]
    assert str(INIT.sources.parent.parent).encode() not in program


@pytest.mark.tools
@needs_compiler
def test_a_tampered_program_is_not_used(init: Program, store: Store) -> None:
    program = bytearray(init.file.read_bytes())
    program[-1] ^= 1
    init.file.write_bytes(program)
    assert build.provide_init(store, init=init).read() != bytes(program)


@pytest.mark.tools
@needs_compiler
def test_changed_sources_are_compiled_once(init: Program, store: Store) -> None:
    edit(init)
    assert build.init_key(init) != build.init_key()
    said: list[Event] = []
    first = build.provide_init(store, said.append, init=init)
    again = build.provide_init(store, said.append, init=init)
    assert b"and of nothing else" in first.read() and again == first
    assert [event.title for event in said if isinstance(event, Begun)] == ["Compiling init"]
    store.blob(first.digest).write_bytes(b"damaged")
    assert build.provide_init(store, init=init) == first


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, init: Program, store: Store, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.provide_init(store, init=init).size_bytes <= LARGEST_BYTES
    edit(init)
    with pytest.raises(ToolMissing, match="musl-gcc to compile it is not installed") as caught:
        build.provide_init(store, init=init)
    assert caught.value.hint is not None and "musl-tools" in caught.value.hint
