"""Where applications come from: one module a kind of source, and a row in ``SOURCES``."""

from collections.abc import Mapping

from imagebuilder.sources import build, debian, files
from imagebuilder.sources.debian import known_users, package_with
from imagebuilder.sources.layer import Context, Layer, Package, SourceKind
from imagebuilder.sources.sonames import is_glibc

SOURCES: Mapping[str, SourceKind] = {
    "debian": SourceKind(debian.describe, debian.provide),
    "files": SourceKind(files.describe, files.provide),
    "build": SourceKind(build.describe, build.provide),
}

__all__ = ["SOURCES", "Context", "Layer", "Package", "SourceKind", "is_glibc", "known_users", "package_with"]
