"""However it ends, who looks is told: by a table, or by a sentence."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

BROKEN = """
import os
from imagebuilder.cli import main
reading, writing = os.pipe()
os.close(reading)
main.cli.main = lambda **_: os.write(writing, b"to nobody")
main.main()
"""


def test_a_program_of_ours_that_is_gone() -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a program that imagebuilder had started ended before it had read its input\n"


def test_whoever_read_has_left() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "imagebuilder", "schema"]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.vm
def test_ended_from_outside(recipe: Path, cache: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "imagebuilder", "bench", "app", "--accel", "tcg", "--runs", "1000"]
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    with subprocess.Popen(argv, cwd=tmp_path, env=given, stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr is not None
        while "in turn" not in (line := bench.stderr.readline()):
            assert line
        bench.send_signal(signal.SIGTERM)
        said = bench.stderr.read()
    assert (bench.returncode, said.splitlines()[-1]) == (143, "imagebuilder: ended by SIGTERM")
