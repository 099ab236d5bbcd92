"""A wheel as nodes (https://packaging.python.org/specifications/binary-distribution-format/): unpacked as data, and
nothing of it is run. What ``RECORD`` says of each file must be so."""

import base64
import configparser
import csv
import hashlib
import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email.parser import HeaderParser
from typing import IO

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from imagebuilder.errors import SourceError
from imagebuilder.sources import zipped
from imagebuilder.sources.python.target import Python
from imagebuilder.tarball import Keep
from imagebuilder.tree import Blob, Kind, Node, file

INSTALLER = "imagebuilder"
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
HASHES = ("sha256", "sha384", "sha512")
SCRIPT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
ENTRY_POINT = re.compile(
    r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)\s*:\s*(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)\s*(\[.*\])?",
    re.ASCII,
)
LONGEST_LICENCE = 200  # characters: some put the whole text there
MOST_METADATA_BYTES = 32 << 20


def unpack(stream: IO[bytes], filename: str, name: str, version: str, python: Python, keep: Keep) -> dict[str, Node]:
    """The nodes of a wheel in the image, by absolute path; ``keep`` takes each content.

    Raises SourceError for a file that is no wheel of this package and version, whose files are not those of its RECORD,
    and for what ``zipped`` refuses.
    """
    nodes = zipped.read(stream, filename, keep)
    info = _info(nodes, filename, name, version)
    _check_kind(nodes, info, filename)
    _check_record(nodes, info, filename)
    placed: dict[str, Node] = {}
    for path, node in nodes.items():
        if node.kind is Kind.DIRECTORY:
            continue
        if node.kind is not Kind.FILE:
            raise SourceError(f"{filename} is refused: {path[1:]} is no file, and wheels have no others")
        if path == f"/{info}/RECORD":
            continue
        where, is_script = _place(path, info, name, python, filename)
        plain = replace(node, mode=0o755 if is_script or node.mode & 0o111 else 0o644, mtime_s=None)
        placed[where] = _with_interpreter(plain, python, keep) if is_script else plain
    points = nodes.get(f"/{info}/entry_points.txt")
    scripts = entry_points(_text(points), filename) if points else {}
    placed |= scripts_of(scripts, python, keep)
    placed[f"{python.site}/{info}/INSTALLER"] = file(keep(f"{INSTALLER}\n".encode()))
    placed[f"{python.site}/{info}/RECORD"] = file(keep(_record(placed, f"{info}/RECORD", python)))
    return placed


def licences(placed: Mapping[str, Node]) -> tuple[str, ...]:
    """What a wheel's METADATA declares, where it is an SPDX expression (PEP 639); of the nodes of ``unpack``."""
    paths = (path for path in placed if path.endswith(".dist-info/METADATA"))
    fields = HeaderParser().parsestr("".join(_text(placed[path]) for path in paths))
    told = str(fields.get("License-Expression") or fields.get("License") or "")[:LONGEST_LICENCE]
    try:
        return (canonicalize_license_expression(told),)
    except InvalidLicenseExpression:
        return ()


def entry_points(text: str, name: str) -> Mapping[str, str]:
    """The console and GUI scripts of an ``entry_points.txt``: the name of each, and its "module:attribute". Raises
    SourceError."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise SourceError(f"{name} is refused: its entry_points.txt is damaged") from error
    groups = [group for group in ("console_scripts", "gui_scripts") if parser.has_section(group)]
    return checked({script: target for group in groups for script, target in parser.items(group)}, name)


def checked(scripts: Mapping[str, object], name: str) -> Mapping[str, str]:
    """Scripts as they may be. Raises SourceError for others."""
    for script, target in scripts.items():
        if not (SCRIPT_NAME.fullmatch(script) and script.strip(".") and ENTRY_POINT.fullmatch(str(target).strip())):
            raise SourceError(f"{name} is refused: its script {script[:100]!r} is not of the form module:function")
    return {script: str(target).strip() for script, target in scripts.items()}


def scripts_of(points: Mapping[str, str], python: Python, keep: Keep) -> dict[str, Node]:
    """The programs of entry points, by their paths."""
    return {f"{python.prefix}/bin/{name}": file(keep(text), mode=0o755) for name, text in _scripts(points, python)}


def _scripts(points: Mapping[str, str], python: Python) -> Iterator[tuple[str, bytes]]:
    for script, target in points.items():
        match = ENTRY_POINT.fullmatch(target)
        assert match is not None
        first = match["attribute"].partition(".")[0]
        lines = (
            f"#!{python.program}",
            "import sys",
            f"from {match['module']} import {first}",
            'if __name__ == "__main__":',
            f"    sys.exit({match['attribute']}())",
            "",
        )
        yield script, "\n".join(lines).encode()


def _info(nodes: Mapping[str, Node], filename: str, name: str, version: str) -> str:
    """The name of its ``.dist-info`` folder."""
    found = {path.split("/")[1] for path in nodes if path.split("/")[1].endswith(".dist-info") and path.count("/") > 1}
    for folder in found if len(found) == 1 else ():
        own, _, number = folder.removesuffix(".dist-info").rpartition("-")
        try:
            if canonicalize_name(own) == name and Version(number) == Version(version):
                return folder
        except InvalidVersion:
            continue
    raise SourceError(f"{filename} is refused: it has no one folder {name}-{version}.dist-info")


def _check_kind(nodes: Mapping[str, Node], info: str, filename: str) -> None:
    node = nodes.get(f"/{info}/WHEEL")
    version = HeaderParser().parsestr(_text(node)).get("Wheel-Version", "") if node else ""
    if version.split(".")[0] != "1":
        raise SourceError(f"{filename} is refused: it is a wheel of version {version[:20] or 'none'}, and known is 1")


def _check_record(nodes: Mapping[str, Node], info: str, filename: str) -> None:
    record = nodes.get(f"/{info}/RECORD")
    if record is None:
        raise SourceError(f"{filename} is refused: it has no RECORD")
    files = {path[1:]: node for path, node in nodes.items() if node.kind is not Kind.DIRECTORY}
    told: set[str] = set()
    try:
        rows = [row for row in csv.reader(_text(record).splitlines()) if row]
    except csv.Error as error:
        raise SourceError(f"{filename} is refused: its RECORD is damaged") from error
    for row in rows:
        path, digest = row[0], row[1] if len(row) > 1 else ""
        told.add(path)
        if path.startswith(f"{info}/") and path.removeprefix(f"{info}/") in UNRECORDED:
            continue
        if path not in files:
            raise SourceError(f"{filename} is refused: it lacks {path[:200]!r}, which is in its RECORD")
        if not _fits(files[path].content, digest):
            raise SourceError(f"{filename} is refused: {path[:200]!r} is not what its RECORD says")
    exempt = {f"{info}/{each}" for each in UNRECORDED}
    if strange := sorted(files.keys() - told - exempt):
        raise SourceError(f"{filename} is refused: {strange[0][:200]!r} is not in its RECORD")


def _fits(content: Blob, told: str) -> bool:
    name, _, digest = told.partition("=")
    if name not in HASHES:
        return False
    found = bytes.fromhex(content.digest) if name == "sha256" else hashlib.new(name, content.read()).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == digest.rstrip("=")


def _place(path: str, info: str, name: str, python: Python, filename: str) -> tuple[str, bool]:
    """Where a file of a wheel stands in the image, and whether it is a script."""
    first, _, rest = path[1:].partition("/")
    if not (first.endswith(".data") and first.removesuffix(".data") == info.removesuffix(".dist-info")):
        return f"{python.site}{path}", False
    kind, _, inner = rest.partition("/")
    places = {
        "purelib": python.site,
        "platlib": python.site,
        "scripts": f"{python.prefix}/bin",
        "data": python.prefix,
        "headers": f"{python.prefix}/include/python{python.minor}/{name}",
    }
    if kind not in places or not inner:
        raise SourceError(f"{filename} is refused: {path[1:]!r} is in a folder that wheels do not have")
    return f"{places[kind]}/{inner}", kind == "scripts"


def _with_interpreter(node: Node, python: Python, keep: Keep) -> Node:
    """A script with the image's interpreter, where it asks for any (``#!python``, ``#!pythonw``)."""
    data = node.content.read()
    first, newline, rest = data.partition(b"\n")
    if not first.startswith(b"#!python"):
        return node
    words = first.split(maxsplit=1)[1:]
    return replace(node, content=keep(b" ".join([f"#!{python.program}".encode(), *words]) + newline + rest))


def _record(placed: Mapping[str, Node], own: str, python: Python) -> bytes:
    """RECORD of what is installed, by paths relative to the folder of packages (PEP 376)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path, node in sorted(placed.items()):
        digest = base64.urlsafe_b64encode(bytes.fromhex(node.content.digest)).rstrip(b"=").decode()
        writer.writerow([_relative(path, python.site), f"sha256={digest}", node.content.size_bytes])
    writer.writerow([own, "", ""])
    return text.getvalue().encode(errors="surrogateescape")


def _relative(path: str, site: str) -> str:
    return posixpath.relpath(path, site)


def _text(node: Node) -> str:
    if node.content.size_bytes > MOST_METADATA_BYTES:
        raise SourceError(f"a list of a wheel has more than {MOST_METADATA_BYTES:,} bytes")
    return node.content.read().decode(errors="surrogateescape")
