"""A host that has other work."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOP = 'while :; do gcc -O3 -o /dev/null "$1"; done'
FUNCTIONS = 300
FUNCTION = (
    "double f{0}(double *a, int n) {{ double s = {0}; for (int i = 0; i < n; i++) s += a[i] *= s + {0}; return s; }}\n"
)


@contextmanager
def busy(processes: int = 2) -> Iterator[None]:
    """So many processes that take all the processor time that they get."""
    with _beside([[sys.executable, "-c", "while True: pass"]] * processes):
        yield


@contextmanager
def compiling(folder: Path, processes: int = 2) -> Iterator[None]:
    """So many compilers, which start again when they are done."""
    source = folder / "much.c"
    source.write_text("".join(map(FUNCTION.format, range(FUNCTIONS))) + "int main(void) { return 0; }\n")
    with _beside([["sh", "-c", LOOP, "sh", str(source)]] * processes):
        yield


@contextmanager
def _beside(argvs: Sequence[Sequence[str]]) -> Iterator[None]:
    children = [subprocess.Popen(argv, start_new_session=True) for argv in argvs]
    try:
        yield
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
