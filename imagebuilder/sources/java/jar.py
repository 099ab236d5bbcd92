"""Jars, which others made: what their manifests say, and those that hold further jars taken apart.

A manifest is that of the JAR file specification (https://docs.oracle.com/en/java/javase/17/docs/specs/jar/jar.html).
An executable jar of Spring Boot has its classes and libraries in folders that its manifest names
(https://docs.spring.io/spring-boot/specification/executable-jar/nested-jars.html); a loader of its own reads them,
which no class-data archive knows. Taken apart, the virtual machine's own loader does.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote

from imagebuilder.errors import SourceError
from imagebuilder.sources import zipped
from imagebuilder.tarball import Keep
from imagebuilder.tree import Blob
from imagebuilder.words import shortened

MANIFEST = "META-INF/MANIFEST.MF"
MOST_MANIFEST_BYTES = 1 << 20
MOST_LIBRARIES = 2000
MOST_CLASSES_BYTES = 256 << 20  # of the classes of a jar that is taken apart, which are written as one jar
INDEXED = re.compile(r'- "(?P<path>[^"\n]+)"')
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of zip


@dataclass(frozen=True, slots=True)
class Jar:
    """What a jar says of itself: its main class, the jars beside it that it names (paths from its own folder), and of
    one that is taken apart the folder of its ``classes`` and the ``libraries`` in it, in their order."""

    main: str | None
    class_path: tuple[str, ...] = ()
    classes: str = ""
    libraries: tuple[str, ...] = ()


def read(stream: IO[bytes], name: str) -> Jar:
    """What a jar says; ``name`` is what errors call it. Raises SourceError for what is no jar, and for names that no
    class and no file can have."""
    with zipped.opened(stream, name) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        said = manifest(_text(archive, entries.get(MANIFEST), name))
        nested = "spring-boot-lib" in said
        libraries = _libraries(archive, entries, said, name) if nested else ()
    main = said.get("start-class" if nested else "main-class", "").strip() or None
    if main is not None and not _is_class(main):
        raise SourceError(f"{name} is refused: its main class {shortened(main)!r} is no name of a class")
    class_path = tuple(map(unquote, said.get("class-path", "").split()))
    return Jar(main, () if nested else class_path, said.get("spring-boot-classes", "") if nested else "", libraries)


def _is_class(name: str) -> bool:
    return all(part.replace("$", "_").isidentifier() for part in name.split("."))


def manifest(text: str) -> Mapping[str, str]:
    """The attributes of a manifest's main section, by their names in small letters."""
    found: dict[str, str] = {}
    last = None
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith(" ") and last is not None:
            found[last] += line[1:]
        elif not line:
            break
        else:
            name, _, value = line.partition(":")
            last = name.lower()
            found[last] = value.removeprefix(" ")
    return found


def taken_apart(stream: IO[bytes], name: str, jar: Jar, keep: Keep) -> dict[str, Blob]:
    """The jars that a jar with ``libraries`` comes to, by their file names: the libraries, and one of its own classes,
    which is the first. ``keep`` takes each content. Raises SourceError."""
    with zipped.opened(stream, name) as archive:
        own = keep(_classes(archive, jar.classes, name))
        entries = {entry.filename: entry for entry in archive.infolist()}
        libraries = {path.rpartition("/")[2]: path for path in jar.libraries}
        if len(libraries) < len(jar.libraries) or "classes.jar" in libraries:
            raise SourceError(f"{name} is refused: two libraries in it have one name")
        return {"classes.jar": own} | {
            file: zipped.content(archive, entries[path], keep) for file, path in libraries.items()
        }


def _classes(archive: zipfile.ZipFile, folder: str, name: str) -> bytes:
    """A jar of what stands in a folder of the archive, and of the services and the like that stand beside it. It is
    stored, not packed: the same bytes whichever zlib there is."""
    made = io.BytesIO()
    done: set[str] = set()
    left = MOST_CLASSES_BYTES
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as jar:
        for entry in archive.infolist():
            path = entry.filename
            inner = path.removeprefix(folder) if path.startswith(folder) else path if _is_meta(path) else ""
            left -= entry.file_size if inner else 0
            if left < 0:
                raise SourceError(f"{name} is refused: its own classes have more than {MOST_CLASSES_BYTES:,} bytes")
            if inner and inner not in done:
                done.add(inner)
                jar.writestr(zipfile.ZipInfo(inner, EARLIEST), archive.read(entry))
    return made.getvalue()


def _is_meta(path: str) -> bool:
    return path.startswith("META-INF/") and path != MANIFEST and not path.endswith((".SF", ".RSA", ".DSA", ".EC"))


def _libraries(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], said: Mapping[str, str], name: str
) -> tuple[str, ...]:
    """The jars in a jar: in the order of its index, else as they stand in it."""
    folder = said["spring-boot-lib"]
    there = [path for path in entries if path.startswith(folder) and path.endswith(".jar")]
    index = said.get("spring-boot-classpath-index")
    listed = [match["path"] for match in INDEXED.finditer(_text(archive, entries.get(index or ""), name))]
    if len(there) > MOST_LIBRARIES:
        raise SourceError(f"{name} is refused: it has more than {MOST_LIBRARIES:,} jars in it")
    known = set(there)
    libraries = tuple(dict.fromkeys([*(path for path in listed if path in known), *there]))
    odd = next((path for path in libraries if not path.rpartition("/")[2].isprintable() or ":" in path), None)
    if odd is not None:
        raise SourceError(f"{name} is refused: {odd!r} in it has a name that no class path can have")
    return libraries


def _text(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None, name: str) -> str:
    if entry is None:
        return ""
    if entry.file_size > MOST_MANIFEST_BYTES:
        raise SourceError(f"{name} is refused: {entry.filename!r} has more than {MOST_MANIFEST_BYTES:,} bytes")
    return archive.read(entry).decode("utf-8", errors="replace")
