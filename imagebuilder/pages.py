"""``pages.json``: which pages of an image's files a start of it uses, so that its disk reads just these ahead.

The list is learned from one start (``imagebuilder learn NAME``), stands beside the recipe, and holds for the contents
that it was learned from: a file that is not in it, or that is another by now, is read from its beginning.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.errors import InputError, OutputError
from imagebuilder.platforms.values import MOST_PAGE, Ahead, MostAhead
from imagebuilder.tree import Node, Tree

SCHEMA: Literal["imagebuilder.pages/1"] = "imagebuilder.pages/1"
PAGE_BYTES = 4096
# A request of the disk takes as long as so many pages of it: seven in the guest, the rest in QEMU (docs/start-up.md).
GAP_PAGES = 24
REQUEST_PAGES = 320  # Linux has a disk give 1.25 MiB at once and drops the rest (BLK_DEF_MAX_SECTORS_CAP)

Range = tuple[int, int]
"""First page (of 4 KiB) and count."""


def _in_order(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    at = 0
    for first, pages in ranges:
        if first < at or pages < 1 or first + pages > MOST_PAGE:
            raise ValueError(f"[{first}, {pages}] is no range of pages behind those before it")
        at = first + pages
    return ranges


class FilePages(BaseModel):
    """The pages of one file, which had this content."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str = Field(pattern="^/")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pages: Annotated[tuple[Range, ...], AfterValidator(_in_order)]


class PageList(BaseModel):
    """What a start uses of the files that the application is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_: Literal["imagebuilder.pages/1"] = Field(alias="schema", default=SCHEMA)
    files: tuple[FilePages, ...]

    @property
    def page_count(self) -> int:
        """How many pages are read ahead."""
        return sum(pages for each in self.files for _, pages in each.pages)

    @property
    def range_count(self) -> int:
        """In how many pieces they lie."""
        return sum(len(each.pages) for each in self.files)

    @property
    def text(self) -> str:
        """The document, one file per line."""
        lines = ",\n".join("  " + json.dumps(each.model_dump(mode="json")) for each in self.files)
        return f'{{"schema": "{SCHEMA}", "files": [\n{lines}\n]}}\n'


def learn_hint(name: str) -> str:
    """What makes the list of a recipe again."""
    return f"`imagebuilder learn {name}` writes it again"


def read(path: Path, *, hint: str) -> PageList:
    """The list in a file. Raises InputError, with the hint, for one that is damaged."""
    try:
        data = documents.read(path, documents.MOST_BYTES)
        documents.json_of(data)
        return PageList.model_validate_json(data)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except documents.Damaged as error:
        raise InputError(f"{path} is no list of pages: {error}", hint=hint) from error
    except ValidationError as error:
        raise InputError(f"{path} is no list of pages: {documents.mistake_in(error)}", hint=hint) from error


def write(pages: PageList, path: Path) -> None:
    """Put the list into a file, whole or not at all. Raises OutputError."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        scratch.write_text(pages.text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


def learned(tree: Tree, paths: Sequence[str], found: Mapping[int, Iterable[Range]], most: MostAhead) -> PageList:
    """The list for files of an image, of which those ranges were in memory (by the number of the file).

    Small gaps are closed, larger ones only when there are more ranges than ``most`` has room for.
    """
    fitting = {path: [each for each in found.get(n, ()) if sum(each) <= MOST_PAGE] for n, path in enumerate(paths)}
    for gap in count(GAP_PAGES):
        joint = {path: joined(ranges, gap) for path, ranges in fitting.items()}
        if sum(len(_requests(ranges)) for ranges in joint.values()) <= most.parts - most.files:
            break  # files of another content have a part each
    files = (FilePages(path=path, sha256=tree[path].content.digest, pages=joint[path]) for path in sorted(joint))
    return PageList(files=tuple(files))


def joined(ranges: Iterable[Range], gap: int) -> tuple[Range, ...]:
    """The ranges in order, those that lie at most ``gap`` pages apart as one."""
    result: list[Range] = []
    for first, pages in sorted(ranges):
        if result and first - sum(result[-1]) <= gap:
            begin, before = result[-1]
            result[-1] = begin, max(before, first + pages - begin)
        else:
            result.append((first, pages))
    return tuple(result)


def ahead(tree: Tree, paths: Sequence[str], known: PageList | None) -> tuple[Ahead, ...]:
    """What init has the disk read of these files: what the list has for their contents, else the beginning, in which
    symbols, relocations and much of the code stand."""
    parts = _by_content(known) if known else {}
    return tuple(Ahead(path, parts.get((path, tree[path].content.digest), _beginning(tree[path]))) for path in paths)


def unknown(tree: Tree, paths: Sequence[str], known: PageList) -> list[str]:
    """Those of the files for whose contents the list is not."""
    parts = _by_content(known)
    return [path for path in paths if (path, tree[path].content.digest) not in parts]


def _by_content(known: PageList) -> Mapping[tuple[str, str], tuple[Range, ...]]:
    return {(each.path, each.sha256): _requests(each.pages) for each in known.files}


def _beginning(node: Node) -> tuple[Range, ...]:
    return ((0, min(REQUEST_PAGES, -(-node.size_bytes // PAGE_BYTES))),) if node.size_bytes else ()


def _requests(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same pages in parts that the disk gives at once."""
    return tuple(
        (at, min(REQUEST_PAGES, first + pages - at))
        for first, pages in ranges
        for at in range(first, first + pages, REQUEST_PAGES)
    )
