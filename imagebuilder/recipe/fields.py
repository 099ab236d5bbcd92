"""The kinds of value that a recipe's keys have, each with its checks.

Checks that look at files run only while a recipe is loaded: the validation context is then its folder.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, Strict, ValidationInfo, WithJsonSchema

from imagebuilder import paths
from imagebuilder.patterns import compiled
from imagebuilder.recipe import local_files
from imagebuilder.recipe.base import mistake
from imagebuilder.recipe.suggestions import nearest, suggest
from imagebuilder.recipe.values import (
    AUTO_KERNEL,
    LONGEST_PATH,
    MountType,
    download_url,
    image_path,
    limit,
    mount,
    user,
)

NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
VERSION = r"^[A-Za-z0-9][A-Za-z0-9.+~:_-]*$"
TEXT = r"^[^\x00]*$"
LINE = r"^[^\x00-\x1f\x7f]*$"
PACKAGE = r"^[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?$"
RELEASE = r"^[a-z][a-z0-9-]*$"
MODE = r"^[0-7]{3,4}$"
SECRET = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
URL_PATH = r"^/[!-~]*$"
SHA256 = r"^[0-9a-f]{64}$"
GLOB = r"^/[^\x00-\x1f\x7f]*$"

# Pattern -> what is expected, in words.
PATTERNS = {
    NAME: "a name of a-z, 0-9 and single '-' between them",
    VERSION: "a version of letters, digits and . + ~ : _ -",
    TEXT: "a text without NUL characters",
    LINE: "one line of text",
    PACKAGE: "the name of a Debian package",
    RELEASE: "the name of a Debian release",
    MODE: "a file mode in octal, as in '0644'",
    VARIABLE: "a name of letters, digits and '_' that begins with no digit",
    SECRET: "a name of at most 64 letters, digits, '.', '_' and '-'",
    URL_PATH: "the path of a URL, as in '/'",
    SHA256: "a SHA-256 of 64 digits in hexadecimal",
    GLOB: "an absolute path in the image, or a pattern for such",
}

OUTSIDE = "copy it there, or link within the folder"

# Names that a typing mistake is measured against; one that is like none of them may be newer than this list.
RELEASES = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "stable", "oldstable", "testing")


def checked(check: Callable[[str], object]) -> AfterValidator:
    """A check that raises ValueError."""

    def checked(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise mistake(f"{error}, found '{text[:60]}'") from None
        return text

    return AfterValidator(checked)


def _limit(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise mistake("expected a limit: a number, 'unlimited' or 'soft:hard'")
    try:
        limit(value)
    except ValueError as error:
        raise mistake(f"{error}, found '{str(value)[:60]}'") from None
    return value


def _json(value: Any) -> Any:
    """A value that JSON has too."""
    if isinstance(value, float) and not math.isfinite(value):
        raise mistake(f"expected a finite number, found {value}")
    if isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            _json(entry)
    elif not isinstance(value, str | int | float):
        raise mistake("expected a text, number, true, false, list or table, found a date or time")
    return value


def _mount_type(text: str) -> str:
    word = text.split()[0] if text.split() else ""
    if word not in list(MountType) and (near := nearest(word, MountType)):
        raise mistake(f"'{word}' cannot be mounted", f"did you mean '{near}'?")
    return text


def _regular_expression(text: str) -> str:
    try:
        compiled(text)
    except ValueError as error:
        raise mistake(f"expected a regular expression (RE2), but {error}") from None
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    """A program's path and its arguments."""
    try:
        image_path(words[0])
    except ValueError as error:
        raise mistake(f"{error}, found '{words[0][:60]}'") from None
    return words


def _release(name: str) -> str:
    near = nearest(name, RELEASES)
    if near not in (None, name) and not name.startswith(f"{near}-"):
        raise mistake(f"no Debian release is called '{name}'", f"did you mean '{near}'?")
    return name


def _kernel(name: str, info: ValidationInfo) -> str:
    known = sorted({path.parent.name for folder in paths.search("kernels") for path in folder.glob("*/kernel.toml")})
    if isinstance(info.context, Path) and name not in (AUTO_KERNEL, *known):
        raise mistake(f"there is no kernel '{name}'", suggest(name, known))
    return name


def _fragment(name: str, info: ValidationInfo) -> str:
    """The name of a fragment that kernels share, or a file beside the recipe."""
    if not isinstance(info.context, Path):
        return name
    if paths.is_file(info.context / name):
        return _inside(name, info.context)
    shared = sorted(path.stem for folder in paths.search("kernels") for path in folder.glob("fragments/*.config"))
    if name not in shared:
        hint = suggest(name, shared) if "." not in name else None
        raise mistake(f"there is neither a file '{name}' beside the recipe nor a shared fragment of this name", hint)
    return name


def _file_beside(name: str, info: ValidationInfo) -> str:
    if not isinstance(info.context, Path):
        return name
    path = info.context / name
    if paths.is_folder(path):
        raise mistake(f"'{name}' is a folder", 'the files of a folder come with [[source]] type = "files"')
    if not paths.is_file(path):
        near = nearest(name, local_files.candidates(info.context))
        raise mistake(f"there is no file '{name}' beside the recipe", f"did you mean '{near}'?" if near else None)
    return _inside(name, info.context)


def _inside(name: str, folder: Path) -> str:
    """The name of a file that is in the folder when all links are followed."""
    if not local_files.inside(folder, name):
        raise mistake(f"'{name}' is behind a link that leads out of the recipe's folder", OUTSIDE)
    return name


def _list_beside(verb: str) -> Callable[[str, ValidationInfo], str]:
    """A list beside the recipe that a verb writes."""

    def beside(name: str, info: ValidationInfo) -> str:
        if isinstance(info.context, Path) and not (
            paths.is_file(info.context / name) or paths.is_folder(info.context / name)
        ):
            hint = f"leave the key out until `imagebuilder {verb}` has written it"
            raise mistake(f"there is no file '{name}' beside the recipe", hint)
        return _file_beside(name, info)

    return beside


def _glob_beside(pattern: str, info: ValidationInfo) -> str:
    if not isinstance(info.context, Path):
        return pattern
    try:
        found = local_files.expand(info.context, pattern)
    except ValueError as error:
        raise mistake(f"{error}, found '{pattern[:60]}'") from None
    if not found:
        near = nearest(pattern, local_files.candidates(info.context))
        raise mistake(f"no file beside the recipe matches '{pattern}'", f"did you mean '{near}'?" if near else None)
    return pattern


Name = Annotated[str, Field(pattern=NAME, max_length=63)]
Version = Annotated[str, Field(pattern=VERSION)]
Text = Annotated[str, Field(pattern=TEXT)]
Line = Annotated[str, Field(pattern=LINE)]
Variable = Annotated[str, Field(pattern=VARIABLE)]
SecretName = Annotated[str, Field(pattern=SECRET)]
Package = Annotated[str, Field(pattern=PACKAGE)]
Release = Annotated[str, Field(pattern=RELEASE, examples=["bookworm", "trixie"]), AfterValidator(_release)]
Command = Annotated[tuple[Text, ...], Field(min_length=1, max_length=64), AfterValidator(_command)]
Mode = Annotated[str, Field(pattern=MODE)]
UrlPath = Annotated[str, Field(pattern=URL_PATH)]
User = Annotated[str, checked(user)]
MountLine = Annotated[str, AfterValidator(_mount_type), checked(mount)]
Expression = Annotated[Text, AfterValidator(_regular_expression)]

Sha256 = Annotated[str, Field(pattern=SHA256)]
DownloadUrl = Annotated[Line, checked(download_url)]

ImagePath = Annotated[str, checked(image_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
ImageGlob = Annotated[str, Field(pattern=GLOB, max_length=LONGEST_PATH)]
Beside = Annotated[str, checked(local_files.relative)]
FolderBeside = Annotated[str, checked(local_files.folder)]
FileBeside = Annotated[str, checked(local_files.relative), AfterValidator(_file_beside)]
PagesBeside = Annotated[str, checked(local_files.relative), AfterValidator(_list_beside("learn"))]
KeepBeside = Annotated[str, checked(local_files.relative), AfterValidator(_list_beside("trace"))]
Fragment = Annotated[str, checked(local_files.relative), AfterValidator(_fragment)]
GlobBeside = Annotated[str, checked(local_files.relative), AfterValidator(_glob_beside)]
KernelName = Annotated[Name, AfterValidator(_kernel)]

Folders = Annotated[int, Strict(), Field(ge=0, le=64)]  # taken off the front of a path
Count = Annotated[int, Strict(), Field(ge=1, le=2**53)]  # as far as every reader of JSON counts exactly
Mebibytes = Annotated[int, Strict(), Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[int, Strict(), Field(ge=1, le=2**31 - 1)]
Milliseconds = Annotated[int, Strict(), Field(ge=0, le=2**31 - 1)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
HttpStatus = Annotated[int, Strict(), Field(ge=100, le=599)]
ExitStatus = Annotated[int, Strict(), Field(ge=0, le=255)]
Yes = Annotated[bool, Strict()]
Value = Annotated[Any, PlainValidator(_json), WithJsonSchema({})]
LimitValue = Annotated[
    int | str,
    PlainValidator(_limit),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
