"""The recipe express: a Node project with its lock, built, booted, and asked by a client that is not ours."""

import asyncio
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind
from tests.asking import asked

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]  # needs npm, or a registry in its files
PORT = 8000


async def test_express_answers_and_holds_no_more_than_it_needs(tmp_path: Path) -> None:
    recipe = load("express")
    work = Build(recipe, Store(tmp_path / "cache"), silent)
    bundle = work.run(tmp_path / "out")
    files = {path for path, node in work.root.items() if node.kind is Kind.FILE}
    assert "/srv/app/node_modules/express/package.json" in files
    assert not {path for path in files if path.rpartition("/")[2] in ("npm", "sh", ".npmrc", "package-lock.json")}
    assert [each.version for each in bundle.image.packages if each.name == "express"] == ["5.3.0"]
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(PORT)}"
        assert await asyncio.to_thread(asked, f"{url}/hello/you") == (200, b"hello, you\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", {"numbers": [1, 2.5]}) == (200, b'{"sum":3.5}')
        assert (await asyncio.to_thread(asked, f"{url}/sum", {"numbers": "x"}))[0] == 400
        assert (await asyncio.to_thread(asked, f"{url}/nothing"))[0] == 404
