"""``python -m imagebuilder.machine.forkserver build|verify``: keep the library prebuilt, or prove that it still is
what it claims."""

import sys

from imagebuilder.machine.forkserver.library import LIBRARY
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(LIBRARY, "imagebuilder.machine.forkserver"))
