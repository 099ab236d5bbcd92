"""The recipe flask: requirements with hashes, built, booted, and asked by a client that is not ours."""

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

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]  # needs an index of wheels
PORT = 8000


async def test_flask_answers_within_its_memory_and_compiles_nothing(tmp_path: Path) -> None:
    recipe = load("flask")
    work = Build(recipe, Store(tmp_path / "cache"), silent)
    bundle = work.run(tmp_path / "out")
    files = {path for path, node in work.root.items() if node.kind is Kind.FILE}
    modules = {path for path in files if path.startswith(("/srv/", "/usr/local/lib/")) and path.endswith(".py")}
    compiled = {path.replace("/__pycache__", "").replace(".cpython-311.pyc", ".py") for path in files}
    assert "/srv/app.py" in modules and modules <= {*compiled}
    assert len([path for path in files if path.endswith(".pyc")]) > len(modules)
    assert not {path for path in files if path.rpartition("/")[2] in ("pip", "sh", "requirements.txt")}
    assert [each.version for each in bundle.image.packages if each.name == "flask"] == ["3.1.3"]
    assert recipe.budget.memory_mib is not None
    memory_mib = recipe.budget.memory_mib
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=memory_mib)) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(PORT)}"
        status, page = await asyncio.to_thread(asked, f"{url}/hello/%3Cb%3E")
        assert status == 200 and b"<p>hello, &lt;b&gt;</p>" in page
        assert await asyncio.to_thread(asked, f"{url}/sum", {"numbers": [1, 2.5]}) == (200, b'{"sum":3.5}\n')
        assert (await asyncio.to_thread(asked, f"{url}/sum", {"numbers": "x"}))[0] == 400
        assert (await asyncio.to_thread(asked, f"{url}/nothing"))[0] == 404
