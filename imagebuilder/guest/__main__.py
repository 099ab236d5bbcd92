"""``python -m imagebuilder.guest build|verify``: keep init ready-built, or prove that it still is what it claims."""

import argparse
import sys

from imagebuilder.errors import ImagebuilderError
from imagebuilder.guest.build import verify_init, write_prebuilt


def main() -> int:
    """Exit status 0: good; 1: the ready-built init differs; 2: a tool is missing or failed."""
    parser = argparse.ArgumentParser(prog="python -m imagebuilder.guest", description=__doc__)
    parser.add_argument("verb", choices=("build", "verify"))
    verb = parser.parse_args().verb
    try:
        return build() if verb == "build" else verify()
    except ImagebuilderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def build() -> int:
    """Compile and keep."""
    record = write_prebuilt()
    print(f"init: {record.bytes} bytes, {record.digest}")
    return 0


def verify() -> int:
    """Compile and compare."""
    differences = verify_init()
    for difference in differences:
        print(f"init: {difference}", file=sys.stderr)
    if not differences:
        print("init: built again, the same bytes")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
