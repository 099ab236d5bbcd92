"""A platform that is added is one file and one row: the steps, their keys, the command line and the lockfile follow."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.events import Say, silent
from imagebuilder.platforms.table import PLATFORMS, USUAL
from imagebuilder.platforms.values import MostAhead, Orders
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.app import RECIPE, lay_down

pytestmark = pytest.mark.tools


def layer(orders: Orders, _store: Store, _say: Say) -> Tree:
    """What starts the application, and what it is told."""
    return Tree({"/toy": file(b"starts it", mode=0o755), "/toy.orders": file(orders.application.command.encode())})


def cmdline(kernels: str, root_format: str, *, has_ports: bool, own: str) -> Iterator[str]:
    """Words of its own."""
    yield f"toy={root_format}"


ROW = replace(
    PLATFORMS[USUAL],
    key=lambda: "70" * 32,
    digest=lambda: None,
    defaults=lambda _users, given: Tree({"/toy.name": file(given.hostname.encode())}),
    mount_points=lambda _mounts: Tree(),
    copied=lambda _tree, _mounts, _system: (),
    could_write=lambda _tree, _user, _granted, _mounted: False,
    program="/toy",
    layer=layer,
    cmdline=cmdline,
    root_disk="/toy.disk",
    most_ahead=MostAhead(1, 1),
    reports=False,
)


@pytest.fixture
def folder(tmp_path: Path, application: Path) -> Path:
    """A recipe."""
    return lay_down(tmp_path / "app", application, RECIPE)


def test_an_image_is_what_the_platform_makes_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cache")
    usual = Build(load(folder), store, silent)
    before = usual.run(tmp_path / "out")
    monkeypatch.setitem(PLATFORMS, "toy", ROW)
    monkeypatch.setattr("imagebuilder.build.planner.USUAL", "toy")
    said: list[object] = []
    toy = Build(load(folder), store, said.append)
    image = toy.run(tmp_path / "toy").image
    assert image.cmdline == "toy=initramfs" and image.digest != before.image.digest
    assert {"/toy", "/toy.orders", "/toy.name"} <= set(toy.root)
    assert toy.root["/toy.name"].content.read() == b"app"
    assert not {"/init", "/init.conf", "/etc/passwd", "/proc"} & set(toy.root)
    assert {"/init", "/init.conf", "/etc/passwd", "/proc"} <= set(usual.root)
    assert any("init is another than recipe.lock has" in str(each) for each in said)
    kept = {each.kind.value for each in toy.plan.steps() if each.id in {other.id for other in usual.plan.steps()}}
    assert kept == {"source", "kernel"}
