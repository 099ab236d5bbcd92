"""What the tests of container images share."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.events import Event
from imagebuilder.store import Store
from tests.oci import registries
from tests.oci.registries import Image, Running

CREDENTIALS = (
    "REGISTRY_AUTH_FILE",
    "DOCKER_CONFIG",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "CONTAINERS_REGISTRIES_CONF",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def events() -> list[Event]:
    """What was said meanwhile."""
    return []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials and mirrors."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image of three layers, one of several MiB that nothing makes smaller."""
    large = random.Random(14).randbytes(5 << 20)
    layers = [registries.packed({"app": b"#!/bin/sh\n"}), registries.packed({"large": large})]
    return registries.image(tmp_path_factory.mktemp("layout") / "layout", [*layers, registries.packed({"etc": b""})])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, layout: Image) -> Iterator[Running]:
    """A registry that has the image as ``t/app:v1``, which tests must leave as it is."""
    if missing := registries.missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    with registries.registry(tmp_path_factory.mktemp("registry")) as running:
        running.push(layout.layout, "t/app:v1")
        yield running
