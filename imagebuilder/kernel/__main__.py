"""``python3 -m imagebuilder.kernel NAME``: compile a kernel and keep it as the ready-built one of its definition."""

import sys

from imagebuilder import paths
from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import Event, Progress
from imagebuilder.kernel import load_definition, prebuilt
from imagebuilder.kernel.compile import compiled
from imagebuilder.store import Store


def _say(event: Event) -> None:
    if not isinstance(event, Progress):
        print(event, file=sys.stderr)


def main(names: list[str]) -> int:
    """Make the named kernels' ready-built images anew."""
    store = Store(paths.cache_dir())
    try:
        for name in names:
            definition = load_definition(name)
            print(prebuilt.write(definition, compiled(definition, (), store=store, say=_say), store))
    except ImagebuilderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
