"""The recipe from-container, and its image as it comes from a real registry: made with umoci, pushed with skopeo,
built, booted, and asked by a client that is not ours."""

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.oci.layout import Layout
from imagebuilder.paths import shipped
from imagebuilder.recipe.load import load
from imagebuilder.sources import Context, oci
from imagebuilder.sources.oci import OciSource
from imagebuilder.store import Store, sha256
from imagebuilder.tree import Tree
from tests.oci import registries
from tests.oci.registries import Running

RECIPE = shipped("recipes") / "from-container"
PROGRAM = "/usr/bin/server"
PORT = 8080
ANSWER = "user 33, group 50, in /srv/app: hello from a container image\n"
PAGE = '\n[root]\ninclude = ["/srv/app/page.txt"]\n'


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as its script makes it now."""
    if missing := [tool for tool in ("umoci", "musl-gcc") if process.find(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    made = tmp_path_factory.mktemp("made") / "image"
    process.run([str(RECIPE / "make-image"), str(made)], timeout_s=300)
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Iterator[Running]:
    """A registry that has it as ``t/server:v1``."""
    if missing := registries.missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    with registries.registry(tmp_path_factory.mktemp("registry")) as running:
        running.push(image, "t/server:v1", tag="latest")
        yield running


def files(layout: Path, store: Store) -> Tree:
    """The files of a layout."""
    context = Context(layout.parent, store, silent)
    tree = oci.fetch(oci.resolve(OciSource(type="oci", path=layout.name), context), context).tree
    return tree.filter(lambda path, _: path != PROGRAM)


def configuration(layout: Path) -> dict[str, object]:
    """What its configuration says, but for the digests of layers."""
    found = Layout(layout)
    manifest = json.loads(found.document(found.resolve(None)))
    digest = manifest["config"]["digest"].removeprefix("sha256:")
    document: dict[str, object] = json.loads((layout / "blobs/sha256" / digest).read_text())
    return {key: value for key, value in document.items() if key != "rootfs"}


def test_the_image_that_ships_is_of_its_source() -> None:
    told = configuration(RECIPE / "image")["config"]
    assert isinstance(told, dict)
    digest = sha256((RECIPE / "server.c").read_bytes())
    assert told["Labels"] == {"server.c": digest}, "make it anew: make-image image"


@pytest.mark.tools
def test_its_script_makes_it_again(image: Path, tmp_path: Path) -> None:
    """All but the program, which is another one with another compiler."""
    store = Store(tmp_path / "store")
    assert configuration(image) == configuration(RECIPE / "image")
    assert files(image, store) == files(RECIPE / "image", store)
    process.run([str(RECIPE / "make-image"), str(tmp_path / "again")], timeout_s=300)
    assert (tmp_path / "again/index.json").read_bytes() == (image / "index.json").read_bytes()


def new(folder: Path, image: str) -> Path:
    """The recipe that the command line writes of an image: four lines."""
    argv = [sys.executable, "-m", "imagebuilder", "new", "app", "--from", image]
    env = {**os.environ, "IMAGEBUILDER_CACHE": str(folder / "cache")}
    process.run(argv, cwd=folder, env=env, timeout_s=300)
    recipe = folder / "recipes/app/recipe.toml"
    assert len(recipe.read_text().splitlines()) == 4
    return recipe.parent


def written(folder: Path, image: str, rest: str = "") -> Path:
    """A recipe of four lines, and what else it is to say."""
    folder.mkdir()
    head = 'name = "server"\nversion = "1"\nsummary = "a test"\n'
    (folder / "recipe.toml").write_text(f'{head}source = {{ type = "oci", {image} }}\n{rest}')
    return folder


@pytest.mark.vm
@pytest.mark.parametrize(("slim", "rest"), [("", ""), (", slim = true", PAGE)], ids=["whole", "slim"])
async def test_an_image_of_a_registry_runs_as_its_configuration_says(
    tmp_path: Path, served: Running, slim: str, rest: str
) -> None:
    """User and group by name, working directory, environment, port, stop signal."""
    name = f"{served.host}/t/server:v1"
    folder = written(tmp_path / "app", f'image = "{name}"{slim}', rest) if slim else new(tmp_path, name)
    work = Build(load(folder), Store(tmp_path / "cache"), silent)
    bundle = work.run(tmp_path / "out")
    assert ("/etc/group" in work.root, "/srv/app/draft.txt" in work.root) == (True, False)
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(PORT)}/"
        assert await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=60).read().decode()) == ANSWER
        ended = await instance.terminate()
        assert (ended.how, ended.status) == (How.APPLICATION, 0)
        assert instance.console.strip().splitlines()[-1] == "ended by SIGQUIT", instance.console


@pytest.mark.tools
def test_the_same_bytes_from_a_registry_and_a_layout_from_a_cold_cache_and_a_warm_one(
    tmp_path: Path, served: Running, image: Path
) -> None:
    def bytes_of(folder: Path, store: str, out: str) -> dict[str, bytes]:
        bundle = Build(load(folder), Store(tmp_path / store), silent).run(tmp_path / out)
        return {path.name: path.read_bytes() for path in bundle.files()}

    recipe = written(tmp_path / "app", f'image = "{served.host}/t/server:v1"')
    cold = bytes_of(recipe, "cache", "one")
    assert cold == bytes_of(recipe, "cache", "two") == bytes_of(recipe, "other", "three")
    beside = written(tmp_path / "beside", 'path = "image"')
    (beside / "image").symlink_to(image)
    other = bytes_of(beside, "cache", "four")
    assert {name: cold[name] == other[name] for name in cold if name.startswith(("root.", "vmlinu", "cmdline"))} == {
        name: True for name in other if name.startswith(("root.", "vmlinu", "cmdline"))
    }
