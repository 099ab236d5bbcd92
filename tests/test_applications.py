"""The recipes of docs/applications.md: each is built, booted, and gives its answer."""

import re
import tomllib
from pathlib import Path

import pytest

from imagebuilder.builder import build
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store

PAGE = Path(__file__).parent.parent / "docs" / "applications.md"
QUICK = ("lighttpd", "memcached")
RECIPES = {
    tomllib.loads(text)["name"]: text for text in re.findall(r"```toml\n(.*?)```\n", PAGE.read_text(), re.DOTALL)
}
pytestmark = [pytest.mark.vm, pytest.mark.network]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RECIPES]
)
async def test_a_documented_recipe_gets_ready(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPES[name])
    bundle = build(load(str(tmp_path)), tmp_path / "out", store=Store(tmp_path / "cache"), say=silent)
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(Ready.model_validate(bundle.image.ready))
