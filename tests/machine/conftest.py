"""A kernel, an init and an application for the machines of these tests."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from imagebuilder import kernel as kernels
from imagebuilder import process
from imagebuilder.build.walk import build
from imagebuilder.bundle import Bundle
from imagebuilder.events import silent
from imagebuilder.machine import template as templates
from imagebuilder.machine.spec import Accelerator
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import create
from imagebuilder.paths import cache_dir
from imagebuilder.platforms.linux import provide_init
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Blob

from .machines import Make, Makings, machine

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def makings(tmp_path_factory: pytest.TempPathFactory) -> Makings:
    """The curated kernel, our init, and the application of ``guest.c``."""
    folder = tmp_path_factory.mktemp("images")
    store = Store(cache_dir())
    application = folder / "application"
    compiler = "musl-gcc" if process.find("musl-gcc") else "gcc"
    process.run([compiler, "-Os", "-static", "-s", "-o", application, HERE / "guest.c"])
    kernel = kernels.provide(kernels.load_definition("micro"), store=store, say=silent)
    cmdline = f"{kernel.cmdline} {kernel.cmdline_tcg}"
    return Makings(kernel.image, provide_init(store, silent), Blob.at(application), folder, cmdline)


@pytest.fixture(scope="session")
def make(makings: Makings) -> Make:
    """Make a machine whose application does the words given."""
    return partial(machine, makings)


@pytest.fixture(scope="session")
def store(cache: Path) -> Store:
    """A cache of this run: templates in the user's own may be in use, and theirs would be swept."""
    return Store(cache)


@pytest.fixture(scope="session")
def bundle(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The image of ``who``."""
    return build(load(str(HERE / "who")), tmp_path_factory.mktemp("out"), store=store, say=silent)


@pytest.fixture(scope="session")
def template(store: Store, bundle: Bundle) -> Iterator[Template]:
    """A template of it."""
    wanted = Wanted.of(bundle, Accelerator.TCG)
    made = asyncio.run(create(wanted, store))
    yield wanted.find(store)
    assert templates.remove(made.folder)
