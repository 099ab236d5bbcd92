"""``python3 -m imagebuilder.kernel NAME``: compile a kernel and its variants, and keep them as the ready-built ones."""

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
            for extra in definition.variants:
                print(prebuilt.write(definition, compiled(definition, extra, store=store, say=_say), store, extra))
    except ImagebuilderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
