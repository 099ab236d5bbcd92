"""``python -m tests.fuzz [--seconds N | --inputs N] [TARGET…]``: run the fuzz targets in turn, for so long together.

Those of the C code are compiled with sanitizers (``targets.py``); those of the Python code are doors (``doors.py``),
each in a process of its own. With ``--inputs`` only the doors run, which take so many inputs together.
"""

import argparse
import sys
from pathlib import Path

from imagebuilder import process
from imagebuilder.errors import ToolFailed
from tests.fuzz.doors import DOORS
from tests.fuzz.targets import TARGETS, clang, fuzz


def main() -> int:
    """Run them; 1 when one of them found something."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    known = (*TARGETS, *DOORS)
    words.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(known)}; default: all")
    words.add_argument("--seconds", type=int, default=60, help="how long all of them together (default: 60)")
    words.add_argument("--inputs", type=int, help="how many inputs of all doors together, instead")
    words.add_argument("--first", type=int, default=0, help="the seed of a door's first input (default: 0)")
    words.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where what they find is kept (out/fuzz)")
    given = words.parse_args()
    if unknown := [name for name in given.targets if name not in known]:
        words.error(f"there is no target {unknown[0]!r}: give one of {', '.join(known)}")
    chosen = given.targets or [name for name in known if given.inputs is None or name in DOORS]
    share = max(1, (given.seconds if given.inputs is None else given.inputs) // len(chosen))
    limit = ("--seconds" if given.inputs is None else "--inputs", str(share))
    compiler, folder = clang(), given.out.absolute()
    print(f"{share} {limit[0][2:]} each: {', '.join(chosen)} (C by {compiler or 'gcc'})", flush=True)
    wrong = []
    for name in chosen:
        if name in TARGETS:
            wrong.append(fuzz(TARGETS[name], folder / name, seconds=share, compiler=compiler))
        else:
            wrong.append(door(name, *limit, "--first", str(given.first), "--out", str(folder)))
    for sentence in filter(None, wrong):
        print(sentence, file=sys.stderr)
    return 1 if any(wrong) else 0


def door(name: str, *words: str) -> str | None:
    """Put inputs through a door; prints the figures. Returns what went wrong, None for nothing."""
    try:
        done = process.run([sys.executable, "-m", "tests.fuzz.trying", name, *words], timeout_s=24 * 3600)
    except ToolFailed as error:
        return f"{name}: {error}\n{error.stderr}"
    print(done.text.strip(), flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
