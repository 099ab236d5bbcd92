"""A kernel, an init and an application for the machines of these tests."""

from functools import partial
from pathlib import Path

import pytest

from imagebuilder import kernel as kernels
from imagebuilder import process
from imagebuilder.events import silent
from imagebuilder.guest import provide_init
from imagebuilder.paths import cache_dir
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
