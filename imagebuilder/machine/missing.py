"""Which files an image that failed may lack: asked of the cache, which knows what its sources had."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from imagebuilder.errors import ImagebuilderError
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store

if TYPE_CHECKING:
    from imagebuilder.lacking import Contents


def lacks(spec: MachineSpec, lines: Sequence[str]) -> list[str]:
    """What to include for what the lines say is missing."""
    from imagebuilder import lacking  # seldom needed, and it imports much

    contents = _contents(spec) if lacking.complains(lines) else None
    return list(lacking.advice(lines, contents)) if contents else []


def unread(spec: MachineSpec) -> list[str]:
    """What to include for an application that says nothing and listens nowhere."""
    from imagebuilder import lacking

    contents = _contents(spec)
    return list(lacking.unread(contents)) if contents else []


def _contents(spec: MachineSpec) -> "Contents | None":
    from imagebuilder import lacking

    with suppress(ImagebuilderError):  # no cache, or a damaged one: it is only for a hint
        return lacking.load(Store(cache_dir()), spec.image) if spec.image else None
    return None
