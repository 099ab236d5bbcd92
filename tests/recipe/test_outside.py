"""No door of a recipe leads out of its folder: not through a link to a file, nor through one to a folder."""

from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import silent
from imagebuilder.recipe.load import load
from imagebuilder.recipe.render import rendered
from imagebuilder.sources import SOURCES, Context
from imagebuilder.store import Store

from .toml import GOOD, write_recipe

PAGES = '{"schema": "imagebuilder.pages/1", "files": []}'
# What a recipe says instead, with PATH for the file.
DOORS = {
    "files.source": ('source = "logo.svg"', 'source = "PATH"'),
    "files.template": ('template = "page.html.j2"', 'template = "PATH"'),
    "root.pages": ("[machine]", '[root]\npages = "PATH"\n\n[machine]'),
    "kernel.fragments": ("[machine]", '[kernel]\nfragments = ["PATH"]\n\n[machine]'),
    "source.files": (
        GOOD[GOOD.index("type") : GOOD.index("[application]")],
        'type = "files"\nfiles = ["PATH"]\n\n',
    ),
    "source.inputs": ('inputs = ["*.c"]', 'inputs = ["PATH"]'),
}


def read(folder: Path, store: Store) -> list[bytes]:
    """All that a recipe takes from its folder."""
    recipe = load(folder)
    (source,) = recipe.source
    SOURCES[source.type].resolve(source, Context(folder, store, silent, refresh=False))
    return [rendered(entry, recipe) for entry in recipe.files]


@pytest.mark.parametrize("path", ["link", "way/secret", "way/../way/secret", "chain"])
@pytest.mark.parametrize("door", DOORS)
def test_nothing_outside_is_read(tmp_path: Path, door: str, path: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "page"
    outside.mkdir()
    (outside / "secret").write_text(PAGES)
    write_recipe(folder, GOOD.replace(DOORS[door][0], DOORS[door][1].replace("PATH", path)))
    (folder / "link").symlink_to(outside / "secret")
    (folder / "way").symlink_to("../outside")
    (folder / "chain").symlink_to("link")
    with pytest.raises(ImagebuilderError) as caught:
        read(folder, Store(tmp_path / "cache"))
    assert caught.value.exit_status == 2 and path in str(caught.value)


@pytest.mark.parametrize("door", ["files.source", "files.template", "root.pages", "kernel.fragments", "source.inputs"])
def test_links_within_the_folder_are_fine(tmp_path: Path, door: str) -> None:
    """Also where the folder itself is behind a link."""
    folder = write_recipe(tmp_path / "page", GOOD.replace(DOORS[door][0], DOORS[door][1].replace("PATH", "link")))
    (folder / "list.json").write_text(PAGES)
    (folder / "link").symlink_to("list.json")
    (tmp_path / "alias").symlink_to(folder)
    for way in (folder, tmp_path / "alias"):
        assert len(read(way, Store(tmp_path / "cache"))) == 2


def test_a_link_that_is_planted_after_the_recipe_was_read(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page")
    (tmp_path / "secret").write_text("secret")
    recipe = load(folder)
    for name in ("logo.svg", "page.html.j2"):
        (folder / name).unlink()
        (folder / name).symlink_to("../secret")
    for entry in recipe.files:
        with pytest.raises(ImagebuilderError, match="out of the recipe's folder"):
            rendered(entry, recipe)
