"""Inputs through a door, within limits: so much time for each, so much memory for all, nothing outside of its folder.

``python -m tests.fuzz.trying DOOR --inputs N [--first SEED] [--out FOLDER]`` prints a line of figures; an input that
found a fault is kept as ``FOLDER/DOOR-SEED``, and the fault is told on standard error. Ends with 1 when there was one.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.fuzz.doors import DOORS, Door, is_refusal
from tests.fuzz.mutation import mutated

MOST_S = 10  # of a processor: a busy host makes no hang
MOST_WAITED_S = 120  # by the clock
MOST_RSS_MIB = 300
MOST_SPACE_BYTES = 2 << 30  # of addresses: what asks for more fails, and the machine goes on
MOST_FAULTS = 20
CHANGING = frozenset(
    f"os.{name}" for name in ("mkdir", "rename", "remove", "rmdir", "symlink", "link", "chmod", "utime", "truncate")
)
STARTING = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"})


class Hang(BaseException):
    """An input took too long; nothing that catches every Exception catches this."""


@dataclass
class Outside:
    """An audit hook that notes what is written outside of a folder, and which programs are started."""

    folder: str = ""
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """What Python is about to do (https://docs.python.org/3/library/audit_events.html)."""
        if not self.folder:
            return
        if event in STARTING:
            self.seen.append(f"{event} {arguments[0]!r}")
        elif event in CHANGING or (event == "open" and _writes(arguments)):
            path = arguments[1 if event in ("os.symlink", "os.link", "os.rename") else 0]
            if isinstance(path, str | bytes) and not self._may(os.fsdecode(path)):
                self.seen.append(f"{event} {path!r}")

    def _may(self, path: str) -> bool:
        return os.path.realpath(path).startswith(self.folder) or "/__pycache__/" in path


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@dataclass
class Figures:
    """What came of some inputs."""

    door: str
    inputs: int = 0
    accepted: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    """By seed: what went wrong."""
    seconds: float = 0.0
    slowest_s: float = 0.0
    """The processor time of an input."""
    peak_mib: int = 0

    def __str__(self) -> str:
        return (
            f"{self.door}: {self.inputs} inputs, {self.accepted} accepted, {self.seconds:.0f} s, slowest "
            f"{self.slowest_s:.1f} s, {self.peak_mib} MiB, {len(self.faults)} faults"
        )


OUTSIDE = Outside()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an input: ``wrong`` is what went wrong."""

    accepted: bool = True
    wrong: str | None = None


def through(door: Door, data: bytes, folder: Path) -> Outcome:
    """Read one input in an empty folder."""
    OUTSIDE.seen.clear()
    OUTSIDE.folder = os.path.realpath(folder)
    signal.setitimer(signal.ITIMER_PROF, MOST_S)
    signal.setitimer(signal.ITIMER_REAL, MOST_WAITED_S)
    try:
        door.read(data, folder)
        accepted = True
    except (Exception, Hang) as error:
        if isinstance(error, Hang) or not is_refusal(door, error):
            return Outcome(accepted=False, wrong="".join(traceback.format_exception(error)))
        accepted = False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        OUTSIDE.folder = ""
    return Outcome(accepted, f"it reached outside: {OUTSIDE.seen}" if OUTSIDE.seen else None)


def trial(door: Door, *, inputs: int, first: int = 0, seconds: float | None = None) -> Figures:
    """So many inputs, or as many as go into so many seconds, by seeds from ``first`` on."""
    figures, began_s = Figures(door.name), time.monotonic()
    with TemporaryDirectory(prefix="imagebuilder-") as scratch:
        for seed in range(first, first + inputs):
            if seconds is not None and time.monotonic() - began_s > seconds:
                break
            folder = Path(scratch) / "input"
            folder.mkdir()
            at_s = time.process_time()
            outcome = through(door, mutated(door.corpus, door.words, seed), folder)
            figures.slowest_s = max(figures.slowest_s, time.process_time() - at_s)
            shutil.rmtree(folder)
            figures.inputs += 1
            figures.accepted += outcome.accepted
            if outcome.wrong is not None:
                figures.faults[seed] = outcome.wrong
            if len(figures.faults) == MOST_FAULTS:
                break
    figures.seconds = time.monotonic() - began_s
    figures.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return figures


def ring(_number: int, _frame: FrameType | None) -> None:
    """The alarm of an input."""
    raise Hang(f"it took more than {MOST_S} s of a processor, or {MOST_WAITED_S} s")


def limited() -> None:
    """Put the limits on this process."""

    signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_SPACE_BYTES, MOST_SPACE_BYTES))
    watch()


@cache
def watch() -> None:
    """Note from now on what a door does outside of its folder, and end what takes too long of a processor."""
    sys.addaudithook(OUTSIDE)
    signal.signal(signal.SIGPROF, ring)


def main() -> int:
    """Try a door; 1 when there was a fault."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("door", choices=DOORS)
    words.add_argument("--inputs", type=int, default=1_000_000_000)
    words.add_argument("--seconds", type=float)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--out", type=Path, default=Path("out/fuzz"))
    asked = words.parse_args()
    limited()
    door = DOORS[asked.door]
    figures = trial(door, inputs=asked.inputs, first=asked.first, seconds=asked.seconds)
    print(figures, flush=True)
    for seed, wrong in figures.faults.items():
        asked.out.mkdir(parents=True, exist_ok=True)
        kept = asked.out / f"{door.name}-{seed}"
        kept.write_bytes(mutated(door.corpus, door.words, seed))
        print(f"{kept}: {wrong}", file=sys.stderr)
    if figures.peak_mib > MOST_RSS_MIB:
        print(f"{door.name}: {figures.peak_mib} MiB, more than {MOST_RSS_MIB}", file=sys.stderr)
    return 1 if figures.faults or figures.peak_mib > MOST_RSS_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
