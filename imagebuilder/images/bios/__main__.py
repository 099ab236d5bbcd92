"""``python -m imagebuilder.images.bios build|verify``: assemble the boot sector, or compare the one that is kept."""

import sys

from imagebuilder.images.bios import STAGE
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(STAGE, "imagebuilder.images.bios"))
