"""``python -m imagebuilder.machine.stem build|verify``: keep the library ready-built, or prove that it still is what it
claims."""

import sys

from imagebuilder.machine.stem.library import LIBRARY
from imagebuilder.ready_built import main

if __name__ == "__main__":
    sys.exit(main(LIBRARY, "imagebuilder.machine.stem"))
