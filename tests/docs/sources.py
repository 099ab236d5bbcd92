"""The table of the kinds of source in ``docs/recipe.md``, made from ``SOURCES``. ``make docs`` writes it."""

from imagebuilder.sources import SOURCES
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "recipe.md"
BEGIN, END = "<!-- kinds of source: make docs -->\n", "<!-- end -->\n"


def table() -> str:
    """A row per kind."""
    rows = (
        f'| `"{name}"` | {" ".join((kind.model.__doc__ or "").split())} | {_knows(kind.tells_application)} |'
        for name, kind in SOURCES.items()
    )
    return "\n".join(["| `type` | what it brings | knows its application |", "|---|---|---|", *rows, ""])


def page() -> str:
    """The page with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def _knows(tells: bool) -> str:
    return "`[application]` may be left out" if tells else "–"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
