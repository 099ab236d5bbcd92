"""The fuzz targets for some seconds, and that they find what they look for. ``make fuzz`` takes an hour."""

import shutil
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.errors import ToolFailed
from imagebuilder.platforms.linux.build import INIT

from .targets import TARGETS, build, crashes, run

pytestmark = pytest.mark.skipif(process.find("gcc") is None, reason="gcc is not installed")
SECONDS = 3


@pytest.mark.tools
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_harms(name: str, tmp_path: Path) -> None:
    said = run(TARGETS[name], build(TARGETS[name], tmp_path), tmp_path, seconds=SECONDS)
    assert int(said.split()[0].removeprefix("#")) > 1000, said


@pytest.mark.tools
def test_a_fault_is_found_from_a_corpus_that_does_not_have_it(tmp_path: Path) -> None:
    """The words of a line as they were cut before: two spaces gave a mount without a type, and a crash."""
    sources, folder = tmp_path / "src", tmp_path / "found"
    shutil.copytree(INIT.sources, sources)
    text = (sources / "conf.c").read_text()
    assert "space && *begin ?" in text
    (sources / "conf.c").write_text(text.replace("space && *begin ?", "space ?"))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("identity", "system"):
        shutil.copy(TARGETS["conf"].corpus / name, corpus)
    program = build(TARGETS["conf"], tmp_path, sources=sources)
    with pytest.raises(ToolFailed):
        run(TARGETS["conf"], program, folder, seconds=30, corpus=corpus)
    (crash,) = crashes(folder)
    assert b"  " in crash.read_bytes()
