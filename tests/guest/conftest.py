"""What a guest is made of: the curated kernel, init, and an application that does what its words say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.events import silent
from imagebuilder.paths import cache_dir
from imagebuilder.platforms.linux import InitConfig, init_conf, provide_init
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Node, Tree, directory, file

HERE = Path(__file__).parent
Make = Callable[..., Tree]


@pytest.fixture(scope="session")
def store() -> Store:
    """The usual cache: a kernel that must be compiled is not compiled for each run."""
    return Store(cache_dir())


@pytest.fixture(scope="session")
def kernel(store: Store) -> Path:
    """The curated kernel."""
    from imagebuilder import kernel as kernels

    return kernels.provide(kernels.load_definition("micro"), store=store, say=silent).image


@pytest.fixture(scope="session")
def init(store: Store) -> Blob:
    """The program under test."""
    return provide_init(store)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Blob:
    """The application of these tests."""
    output = tmp_path_factory.mktemp("probe") / "probe"
    process.run(["musl-gcc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", output, HERE / "probe.c"])
    return Blob.at(output)


@pytest.fixture
def image(init: Blob, probe: Blob) -> Make:
    """Make a tree whose application does the words; keywords are fields of the configuration."""

    def make(*words: str, files: dict[str, Node] | None = None, **fields: object) -> Tree:
        config = InitConfig(**{"args": ("/probe", *words), **fields})  # type: ignore[arg-type]
        return Tree(
            {
                "/proc": directory(mode=0o555),
                "/dev": directory(),
                "/init": file(init, mode=0o755),
                "/probe": file(probe, mode=0o755),
                "/init.conf": file(init_conf(config)),
                **(files or {}),
            }
        )

    return make
