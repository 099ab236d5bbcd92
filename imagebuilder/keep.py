"""``keep.json``: which files of the sources an application opens, and by which programs, so that its image keeps these.

The list is written by ``imagebuilder trace NAME`` from starts of the whole root, and stands beside the recipe. What the
machine wrote of it is foreign data, and so is the list.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.errors import InputError, OutputError
from imagebuilder.words import counted

SCHEMA: Literal["imagebuilder.keep/1"] = "imagebuilder.keep/1"
HEAD = b"imagebuilder.trace/1\n"
MOST_TRACE_BYTES = 64 << 20
MOST_PATH = 4096
MOST_PROGRAMS = 16  # named for one file
BYTE_CODE = re.compile(r"(?P<folder>.*)/__pycache__/(?P<name>[^/]+)\.[\w-]+\.pyc")
ESCAPE = re.compile(r"\\(?:\\|x[0-9a-f]{2})")
BACKSLASH, BYTE_0X80 = ord("\\"), 0x80


def _escaped_path(text: str) -> str:
    if "\\" in ESCAPE.sub("", text):
        raise ValueError("a backslash stands for itself only when it is doubled")
    if not _is_path(path := unescaped(text)) or escaped(path) != text:
        raise ValueError("it is no absolute path as the list has them")
    return text


def _is_path(path: str) -> bool:
    """Whether it is one as the kernel tells of it, and not the root's."""
    parts = path.split("/")[1:]
    return path.startswith("/") and "\0" not in path and len(path) < MOST_PATH and not {"", ".", ".."} & {*parts}


EscapedPath = Annotated[str, Field(max_length=4 * MOST_PATH, pattern="^/"), AfterValidator(_escaped_path)]


class OpenedFile(BaseModel):
    """A file or folder of the sources, and the programs that opened it (paths). Bytes that are no UTF-8 are written as
    ``\\xNN``, a backslash as two."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: EscapedPath
    by: Annotated[tuple[EscapedPath, ...], Field(max_length=MOST_PROGRAMS)] = ()


class KeepList(BaseModel):
    """What an application opens."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_: Literal["imagebuilder.keep/1"] = Field(alias="schema", default=SCHEMA)
    files: tuple[OpenedFile, ...]

    @property
    def text(self) -> str:
        """The document, one file per line."""
        lines = ",\n".join("  " + json.dumps(each.model_dump(mode="json"), ensure_ascii=False) for each in self.files)
        return f'{{"schema": "{SCHEMA}", "files": [\n{lines}\n]}}\n'

    @property
    def reasons(self) -> Mapping[str, str]:
        """Each path with why it is kept: a clause."""
        return {unescaped(each.path): why(map(unescaped, each.by)) for each in self.files}


def why(programs: Iterable[str]) -> str:
    """ "opened by /usr/sbin/nginx" """
    return f"opened by {', '.join(programs) or 'a program that had ended'}"


def escaped(path: str) -> str:
    """A path of any bytes as text."""
    return path.replace("\\", "\\\\").encode(errors="surrogateescape").decode(errors="backslashreplace")


def unescaped(text: str) -> str:
    """The path that was escaped."""
    data = re.sub(
        rb"\\(\\|x[0-9a-f]{2})",
        lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]),
        text.encode(errors="surrogateescape"),
    )
    return data.decode(errors="surrogateescape")


def trace_hint(name: str) -> str:
    """What makes the list of a recipe again."""
    return f"`imagebuilder trace {name}` writes it again"


def read(path: Path, *, hint: str) -> KeepList:
    """The list in a file. Raises InputError, with the hint, for one that is damaged."""
    try:
        data = documents.read(path, documents.MOST_BYTES)
        documents.json_of(data)
        return KeepList.model_validate_json(data)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except documents.Damaged as error:
        raise InputError(f"{path} is no list of files: {error}", hint=hint) from error
    except ValidationError as error:
        raise InputError(f"{path} is no list of files: {documents.mistake_in(error)}", hint=hint) from error


def write(found: KeepList, path: Path) -> None:
    """Put the list into a file, whole or not at all. Raises OutputError, InputError for one that is too long."""
    data = found.text.encode()
    if len(data) > documents.MOST_BYTES:
        most_mib = documents.MOST_BYTES >> 20
        raise InputError(f"{path} would have more than {most_mib} MiB: opened were {counted(len(found.files), 'file')}")
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


def opened(disk: bytes) -> list[tuple[str, str]]:
    """What a traced machine wrote to its disk: paths, each with the path of the program that opened it ("": it had
    ended), in their order. Raises ValueError for a disk on which there is no trace."""
    if not disk.startswith(HEAD):
        raise ValueError("there is no trace on its disk")
    words = disk[len(HEAD) : MOST_TRACE_BYTES].split(b"\0")
    found = []
    for path, program in zip(words[::2], words[1::2], strict=False):
        if not path:  # here it ends: the rest of the disk is empty
            break
        found.append((path.decode(errors="surrogateescape"), program.decode(errors="surrogateescape")))
    return found


def keep_list(found: Iterable[tuple[str, str]], known: Collection[str]) -> KeepList:
    """The list of what was opened, of the ``known`` paths: those of the sources. Python looks for the module of its
    byte code without opening it."""
    programs: defaultdict[str, set[str]] = defaultdict(set)
    for path, program in found:
        module = BYTE_CODE.fullmatch(path)
        for each in (path, *([f"{module['folder']}/{module['name']}.py"] if module else [])):
            if each in known and _is_path(each):
                programs[each].update([program] if _is_path(program) else [])
    return KeepList(
        files=tuple(
            OpenedFile(path=escaped(path), by=tuple(map(escaped, sorted(by)[:MOST_PROGRAMS])))
            for path, by in sorted(programs.items())
        )
    )
