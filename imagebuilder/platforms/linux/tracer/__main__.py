"""``python -m imagebuilder.platforms.linux.tracer build|verify``: compile it, or compare the one that is kept."""

import sys

from imagebuilder.platforms.linux.tracer import TRACER
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(TRACER, "imagebuilder.platforms.linux.tracer"))
