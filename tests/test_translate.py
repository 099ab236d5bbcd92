"""What a recipe comes to in the guest."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.builder import Build
from imagebuilder.errors import KernelError
from imagebuilder.events import silent
from imagebuilder.guest.config import Sysctl
from imagebuilder.guest.users import User
from imagebuilder.kernel import asks_for, load_definition
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import MountType
from imagebuilder.store import Store
from imagebuilder.translate import MOUNTS, init_config

LOW_PORTS = Sysctl("net/ipv4/ip_unprivileged_port_start", "0")


@pytest.mark.parametrize(
    ("user", "free", "sysctls"),
    [
        (User("root", 0, 0), False, ()),
        (User("www-data", 33, 33), False, (LOW_PORTS,)),
        (User("www-data", 33, 33), True, ()),
    ],
    ids=["root may", "init sets them free", "the kernel has them free"],
)
def test_low_ports(user: User, free: bool, sysctls: tuple[Sysctl, ...]) -> None:
    recipe = load(paths.shipped("recipes") / "nginx")
    config = init_config(
        recipe, user, modules=(), overlay=False, copies=(), ahead=(), low_ports=free, listen_signal=False
    )
    assert config.sysctls == sysctls


@pytest.mark.parametrize("kind", MountType)
def test_a_mount_that_the_kernel_lacks_is_known_when_the_image_is_built(kind: MountType, tmp_path: Path) -> None:
    """And what brings it: the hint is followed, as far as that needs no compiler."""
    document = tomllib.loads((paths.shipped("recipes") / "hello" / "recipe.toml").read_text())
    shutil.copy(paths.shipped("recipes") / "hello" / "hello.c", tmp_path)
    document["root"] = {"mounts": [f"{kind} /mnt"]}
    mounting = Recipe.model_validate(document, context=tmp_path)
    lacking = asks_for(load_definition("micro"), (), MOUNTS[kind]) in (None, "n")
    assert lacking == (kind not in ["tmpfs", "proc", "sysfs", "devtmpfs", "devpts", "mqueue", "erofs", "overlay"])
    store = Store(tmp_path / "cache")
    if not lacking:
        assert Build(mounting, store, silent).plan
        return
    with pytest.raises(KernelError, match=f'root.mounts: "{kind}" needs CONFIG_{MOUNTS[kind]}') as caught:
        _ = Build(mounting, store, silent).plan
    found = re.search(r'add "([^"]+)" to fragments', caught.value.hint or "")
    assert found
    if found[1] == "own.config":
        (tmp_path / "own.config").write_text(f"CONFIG_{MOUNTS[kind]}=y\n")
    document["kernel"] = {"fragments": [found[1]]}
    assert Build(Recipe.model_validate(document, context=tmp_path), store, silent).plan


def test_more_processors_than_the_kernel_can_use(tmp_path: Path) -> None:
    recipe = load("hello")
    wide = recipe.model_copy(update={"machine": recipe.machine.model_copy(update={"cpus": 65})})
    with pytest.raises(KernelError, match=r"machine\.cpus = 65: the kernel micro uses 64 at most"):
        _ = Build(wide, Store(tmp_path), silent).plan
