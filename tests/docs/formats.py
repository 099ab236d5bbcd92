"""``docs/formats.md``: what images can be written as, from the tables of the code. ``make docs`` writes it."""

from collections.abc import Iterable, Iterator

from imagebuilder.filesystems import FILESYSTEMS, FileSystem
from imagebuilder.images import IMAGES, ImageFormat
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "formats.md"
PAGE_TEXT = """\
# Formats

`imagebuilder build NAME` makes the folder `out/NAME/`: kernel, root, command line and `image.json`
([contracts.md](contracts.md#bundle-format-direct)). `--format`, as often as one likes, writes the image in other
formats beside it. The files appear whole or not at all, and have the same bytes each time. This page is made from the
code's tables (`make docs`).

## Image formats

What a machine boots.

{images}

## File systems

The root alone, to look at with other tools.

{filesystems}

## For scripts

`build --json` prints, for each NAME, what was made: `artifacts` are the formats that were asked for (without `--format`
the bundle's folder), in that order, and `cached` says of each step whether the cache had its result. `imagebuilder
schema build` has the JSON Schema.

```json
{{"images": [
  {{"name": "hello", "digest": "of what boots", "folder": "out/hello",
   "artifacts": [{{"format": "tar", "path": "out/hello.tar", "bytes": 81920, "sha256": "of the file"}}],
   "steps": [{{"id": "3b0c", "kind": "source", "title": "source 1 of hello", "cached": true}}]}}
]}}
```

The `sha256` of a bundle's folder is that of the list of its four files: `sha256sum cmdline image.json root.* vmlinu* |
sha256sum`, in that folder.
"""


def page() -> str:
    """The page."""
    return PAGE_TEXT.format(images=_table(IMAGES.values()), filesystems=_table(FILESYSTEMS.values()))


def _table(rows: Iterable[ImageFormat | FileSystem]) -> str:
    return "\n".join(["| `--format` | | | needs |", "|---|---|---|---|", *_lines(rows)])


def _lines(rows: Iterable[ImageFormat | FileSystem]) -> Iterator[str]:
    for row in rows:
        yield f"| `{row.name}` | `NAME{row.suffix or '/'}` | {row.summary} | {', '.join(row.tools) or '–'} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
