"""An independent stopwatch: spawns a command line and times the first line of its output that has a text.

It shares nothing with imagebuilder but the command line: ``python3 stopwatch.py TEXT WORD…`` prints milliseconds.
"""

import os
import subprocess
import sys
import time


def milliseconds(text: str, argv: list[str]) -> float:
    """From just before the program is spawned until it has printed the text; it is killed afterwards."""
    begin = time.monotonic()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    seen = b""
    try:
        while text.encode() not in seen:
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"it ended and had not printed {text!r}")
            seen += data
        return (time.monotonic() - begin) * 1000
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


if __name__ == "__main__":
    print(milliseconds(sys.argv[1], sys.argv[2:]))
