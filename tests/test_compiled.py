"""The recipes go and rust: compiled, booted within their budget, and asked by a client that is not ours."""

import asyncio
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure.size import shipped_soon
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind

pytestmark = [pytest.mark.vm, pytest.mark.tools]
PORT = 8000


@pytest.fixture(autouse=True)
def debian_s_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that may come before them on the path ask for settings in a home folder."""
    monkeypatch.setenv("PATH", f"/usr/bin:{os.environ['PATH']}")


def asked(url: str, numbers: str | None = None) -> tuple[int, str]:
    """GET, or POST of numbers: the status, and the answer's text."""
    request = urllib.request.Request(url, numbers.encode() if numbers is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("name", ["go", "rust"])
async def test_it_answers_within_its_budget(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    work = Build(recipe, Store(tmp_path / "cache"), silent)
    bundle = work.run(tmp_path / "out")
    files = {path for path, node in work.root.items() if node.kind is Kind.FILE}
    assert {path for path in files if path.startswith("/usr/")} == {"/usr/bin/server"}
    assert str(tmp_path).encode() not in work.root["/usr/bin/server"].content.read()
    assert recipe.budget.image_bytes is not None and recipe.budget.memory_mib is not None
    assert (await shipped_soon(bundle, work.store)).total_bytes <= recipe.budget.image_bytes
    spec = spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=recipe.budget.memory_mib)
    async with Instance.start(spec) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(PORT)}"
        assert await asyncio.to_thread(asked, f"{url}/hello/you") == (200, "hello, you\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", "1 2.5 4") == (200, "7.5\n")
        assert await asyncio.to_thread(asked, f"{url}/sum", "one") == (400, "expected numbers\n")
        assert (await asyncio.to_thread(asked, f"{url}/nothing"))[0] == 404
        assert (await instance.terminate()).how is How.APPLICATION


@pytest.mark.parametrize("name", [pytest.param("go", marks=pytest.mark.slow), "rust"])
def test_the_same_bytes_from_another_cache(name: str, tmp_path: Path) -> None:
    """Compiled again, in a folder of another name."""
    recipe = load(name)
    one, two = (
        Build(recipe, Store(tmp_path / each / "cache"), silent).run(tmp_path / each / "out") for each in ("one", "two")
    )
    assert {path.name: path.read_bytes() for path in one.files()} == {
        path.name: path.read_bytes() for path in two.files()
    }
