"""``python -m imagebuilder.guest build|verify``: keep init ready-built, or prove that it still is what it claims."""

import sys

from imagebuilder.guest.build import INIT
from imagebuilder.ready_built import main

if __name__ == "__main__":
    sys.exit(main(INIT, "imagebuilder.guest"))
