"""Recipes whose application has helpers: what is kept for these, and a machine in which both run."""

from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.machine.accel import choose
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

RECIPE = """
name = "pair"
version = "1"
summary = "A client of its own helper."
[source]
type = "debian"
release = "bookworm"
packages = ["busybox-static"]
[[files]]
path = "/srv/index.html"
text = "said by the helper"
[[helper]]
command = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/srv"]
name = "web"
user = "7:8"
environment = { A = "1" }
ready = { port = 8080 }
[application]
command = "/bin/busybox"
arguments = ["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
[ready]
exit = 0
"""


def build(folder: Path, text: str = RECIPE) -> Build:
    """A build of a recipe."""
    app = folder / "pair"
    app.mkdir()
    (app / "recipe.toml").write_text(text)
    return Build(load(app), Store(folder / "store"), silent)


@pytest.mark.vm
@pytest.mark.network
async def test_a_client_and_its_server_in_one_machine(tmp_path: Path) -> None:
    made = build(tmp_path)
    lines = made.root["/init.conf"].content.read().decode().splitlines()
    assert lines[lines.index("helper web") :][:4] == [
        "helper web", "helper-user 7 8", "helper-ready port 8080 30000", "helper-env A=1",
    ]  # fmt: skip
    spec = spec_of(made.run(tmp_path / "out"), accelerator=choose("tcg").accelerator)
    async with Instance.start(spec) as instance:
        assert (await instance.wait_exit()).ok
        assert instance.console == "said by the helper"


@pytest.mark.vm
@pytest.mark.network
async def test_a_helper_that_ends_is_what_the_error_names(tmp_path: Path) -> None:
    made = build(tmp_path, RECIPE.replace('"-p", "8080"', '"-p", "nothing"'))
    spec = spec_of(made.run(tmp_path / "out"), accelerator=choose("tcg").accelerator)
    async with Instance.start(spec) as instance:
        await instance.wait_exit()
        error = instance.evidence.failure("before it was ready")
    assert "the helper web exited with status 1 before it was ready" in str(error)
    assert error.hint is not None and "httpd" in error.hint, "its own words"
