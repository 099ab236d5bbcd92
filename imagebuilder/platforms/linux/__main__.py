"""``python -m imagebuilder.platforms.linux build|verify``: compile init, or compare the one that is kept."""

import sys

from imagebuilder.platforms.linux.build import INIT
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(INIT, "imagebuilder.platforms.linux"))
