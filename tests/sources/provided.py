"""The layer of a source, as a build gets it."""

from imagebuilder.sources import SOURCES, Context, SourceTable
from imagebuilder.sources.layer import Layer


def provided(source: SourceTable, context: Context) -> Layer:
    """What the source comes to, fetched."""
    kind = SOURCES[source.type]
    return kind.fetch(kind.resolve(source, context), context)
