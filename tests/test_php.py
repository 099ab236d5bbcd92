"""The recipe php: nginx before php-fpm as a helper, built, booted, and asked by a client that is not ours."""

import asyncio
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind
from tests.asking import asked

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]


async def test_php_answers_behind_nginx_within_its_budget(tmp_path: Path) -> None:
    recipe = load("php")
    work = Build(recipe, Store(tmp_path / "cache"), silent)
    bundle = work.run(tmp_path / "out")
    files = {path for path, node in work.root.items() if node.kind is Kind.FILE}
    assert {"/usr/sbin/nginx", "/usr/sbin/php-fpm8.2", "/srv/index.php"} <= files
    assert not {path for path in files if path.rpartition("/")[2] in ("sh", "bash", "dash", "php8.2", "perl")}
    spec = spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=recipe.budget.memory_mib)
    async with Instance.start(spec) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(80)}"
        assert await asyncio.to_thread(asked, f"{url}/hello/you") == (200, b"hello, you\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", {"numbers": [1, 2.5]}) == (200, b'{"sum":3.5}\n')
        assert (await asyncio.to_thread(asked, f"{url}/sum", {"numbers": ["x"]}))[0] == 400
        assert (await asyncio.to_thread(asked, f"{url}/nothing"))[0] == 404
        assert (await instance.terminate()).how is How.APPLICATION
