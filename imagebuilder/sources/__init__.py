"""Where applications come from: one module per kind of source, and a row in ``SOURCES``. Recipes, their schema and
their mistakes follow the table."""

from collections.abc import Iterable, Mapping

from imagebuilder.sources import archive, build, debian, files, java, node, oci, python
from imagebuilder.sources.kind import Context, Defaults, Locked, Package, SourceKind, SourcePrepare, SourceTable

SOURCES: Mapping[str, SourceKind] = {
    "debian": SourceKind(debian.DebianSource, debian.resolve, debian.fetch),
    "files": SourceKind(files.FilesSource, files.resolve, files.fetch),
    "build": SourceKind(build.BuildSource, build.resolve, build.fetch),
    "archive": SourceKind(archive.ArchiveSource, archive.resolve, archive.fetch),
    "node": SourceKind(node.NodeSource, node.resolve, node.fetch, tells_application=True, implied=node.implied),
    "python": SourceKind(python.PythonSource, python.resolve, python.fetch, implied=python.implied),
    "java": SourceKind(
        java.JavaSource,
        java.resolve,
        java.fetch,
        tells_application=True,
        implied=java.implied,
        prepare=java.prepare,
    ),
    "oci": SourceKind(oci.OciSource, oci.resolve, oci.fetch, tells_application=True, tells_ports=True),
}


def with_implied(sources: Iterable[SourceTable]) -> tuple[SourceTable, ...]:
    """The sources, each behind those that it stands on; one that is there already is not repeated."""
    found: list[SourceTable] = []
    for source in sources:
        implied = SOURCES[source.type].implied
        found += [each for each in (implied(source) if implied else ()) if each not in found]
        found.append(source)
    return tuple(found)


__all__ = [
    "SOURCES",
    "Context",
    "Defaults",
    "Locked",
    "Package",
    "SourceKind",
    "SourcePrepare",
    "SourceTable",
    "with_implied",
]
