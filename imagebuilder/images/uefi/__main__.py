"""``python -m imagebuilder.images.uefi build|verify``: compile the stub, or compare the one that is kept."""

import sys

from imagebuilder.images.uefi import STUB
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(STUB, "imagebuilder.images.uefi"))
