"""``python -m imagebuilder.platforms.linux.preparer build|verify``: compile it, or compare the one that is kept."""

import sys

from imagebuilder.platforms.linux.preparer.build import PREPARER
from imagebuilder.prebuilt.program import main

if __name__ == "__main__":
    sys.exit(main(PREPARER, "imagebuilder.platforms.linux.preparer"))
