"""``python -m tests.fuzz --seconds N [TARGET…]``: run the fuzz targets, in turn, for so long together."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS, clang, fuzz


def main() -> int:
    """Run them; 1 when one of them found something."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    words.add_argument("--seconds", type=int, default=60, help="how long all of them together (default: 60)")
    words.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where what they find is kept (out/fuzz)")
    given = words.parse_args()
    if unknown := [name for name in given.targets if name not in TARGETS]:
        words.error(f"there is no target {unknown[0]!r}: give one of {', '.join(TARGETS)}")
    chosen, compiler = given.targets or list(TARGETS), clang()
    print(f"{compiler or 'gcc'}, {given.seconds // len(chosen)} s each: {', '.join(chosen)}", flush=True)
    folder, seconds = given.out.absolute(), given.seconds // len(chosen)
    wrong = [fuzz(TARGETS[name], folder / name, seconds=seconds, compiler=compiler) for name in chosen]
    for sentence in filter(None, wrong):
        print(sentence, file=sys.stderr)
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
