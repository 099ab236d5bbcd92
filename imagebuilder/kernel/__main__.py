"""``python3 -m imagebuilder.kernel NAME``: compile a kernel and its variants, and keep them as the prebuilt ones."""

import sys
from collections.abc import Sequence
from functools import partial

from imagebuilder import paths
from imagebuilder.kernel import load_definition, prebuilt
from imagebuilder.kernel.compile import compiled
from imagebuilder.maintainer_cli import status_of, tell
from imagebuilder.store import Store


def main(names: Sequence[str]) -> int:
    """Make the named kernels' prebuilt images again."""
    return status_of(partial(_write, names, Store(paths.cache_dir())))


def _write(names: Sequence[str], store: Store) -> None:
    for name in names:
        definition = load_definition(name)
        for extra in definition.variants:
            print(prebuilt.write(definition, compiled(definition, extra, store=store, say=tell), store, extra))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
