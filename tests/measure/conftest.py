"""Small images whose application takes as much memory and time as a test asks for."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import kernel as kernels
from imagebuilder import process
from imagebuilder.bundle import SCHEMA, BootSettings, Bundle, Image, KernelFile, RecipeView, RootFile, write
from imagebuilder.events import silent
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.paths import cache_dir
from imagebuilder.platforms.linux import InitConfig, provide_init
from imagebuilder.platforms.linux.build import INIT
from imagebuilder.platforms.linux.layer import defaults, init_layer
from imagebuilder.platforms.values import Surroundings
from imagebuilder.recipe.model import Budget, Ready
from imagebuilder.store import Store
from imagebuilder.tree import Blob, file

from .images import Make

MEMORY_MIB = 48
MOUNTED = "    mount_all(&conf);\n"  # a line of init's main.c, in the phase init


@pytest.fixture(scope="session")
def make(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make an image; keywords are what its ``image.json`` says of readiness and budget, and what init does besides."""
    folder = tmp_path_factory.mktemp("images")
    store = Store(cache)
    process.run(["gcc", "-O1", "-static", "-s", "-o", folder / "application", Path(__file__).parent / "application.c"])
    application, init = Blob.at(folder / "application"), provide_init(store, silent)
    kernel = kernels.provide(kernels.load_definition("micro"), store=Store(cache_dir()), say=silent)

    def image(
        *words: object, timeout_s: int = 120, budget: Mapping[str, float] | None = None, init_too: str = ""
    ) -> Bundle:
        own = Blob.of(_init_with(init_too, folder / "src")) if init_too else init
        layer = init_layer(own, InitConfig(args=("/application", *map(str, words))))
        tree = defaults((), Surroundings()).merge(layer).put("/application", file(application, mode=0o755))
        name = "-".join(["measured", *map(str, words), *(["more"] if init_too else [])])
        root = folder / name
        FILESYSTEMS["cpio"].write(tree, root, epoch_s=0)
        described = Image(
            schema=SCHEMA,
            name=name,
            version="1",
            kernel=KernelFile(name=kernel.name, file="vmlinux", **_stored(kernel.image, store)),
            root=RootFile(format="initramfs", file="root.cpio", **_stored(root, store)),
            cmdline=kernel.cmdline,
            boot=BootSettings(
                machine=kernel.machine,
                acpi=kernel.acpi,
                memory_mib=MEMORY_MIB,
                cpus=1,
                cmdline_tcg=kernel.cmdline_tcg,
            ),
            ready=Ready(console="^here I am", timeout_s=timeout_s),
            budget=Budget.model_validate(budget or {}),
            recipe=RecipeView(),
        )
        return write(described.sealed(), folder / "out" / name, store)

    return image


def _init_with(code: str, folder: Path) -> bytes:
    """An init that does this too, after its mounts."""
    shutil.copytree(INIT.sources, folder, dirs_exist_ok=True)
    main = (INIT.sources / "main.c").read_text()
    assert MOUNTED in main
    (folder / "main.c").write_text(main.replace(MOUNTED, f"{MOUNTED}    {code}\n"))
    return INIT.elsewhere(sources=folder).build()


def _stored(path: Path, store: Store) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": store.put_file(path)}
