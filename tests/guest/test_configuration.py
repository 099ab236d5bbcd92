"""What a recipe comes to in the guest."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.build.walk import Build
from imagebuilder.errors import KernelError
from imagebuilder.events import silent
from imagebuilder.kernel import asks_for, load_definition
from imagebuilder.platforms.linux.config import Sysctl
from imagebuilder.platforms.linux.configuration import MOUNTS, init_config
from imagebuilder.platforms.table import PLATFORMS, USUAL
from imagebuilder.platforms.users import User
from imagebuilder.platforms.values import Orders
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import MountType, RootFormat
from imagebuilder.store import Store

LOW_PORTS = Sysctl("net/ipv4/ip_unprivileged_port_start", "0")


@pytest.mark.parametrize(
    ("user", "free", "sysctls"),
    [
        (User("root", 0, 0), False, (LOW_PORTS,)),
        (User("www-data", 33, 33), False, (LOW_PORTS,)),
        (User("www-data", 33, 33), True, ()),
    ],
    ids=["root has no rights", "init sets them free", "the kernel has them free"],
)
def test_low_ports(user: User, free: bool, sysctls: tuple[Sysctl, ...]) -> None:
    application = load(paths.shipped("recipes") / "nginx").application
    orders = Orders(application=application, user=user, hostname="nginx", network=True, low_ports=free)
    assert init_config(orders).sysctls == sysctls


def test_the_row_starts_from_each_root_that_a_recipe_can_ask_for() -> None:
    row = PLATFORMS[USUAL]
    assert {*row.filesystems, RootFormat.AUTO} == {*RootFormat}
    for root_format in row.filesystems:
        words = " ".join(row.cmdline("quiet", root_format, has_ports=False, own="own=1")).split()
        assert ("init=/init" in words) == (root_format is not RootFormat.INITRAMFS)
        assert (words[0], words[-1]) == ("quiet", "own=1")


def test_the_layer_holds_init_and_its_orders(tmp_path: Path) -> None:
    application = load(paths.shipped("recipes") / "nginx").application
    orders = Orders(application=application, user=User("root", 0, 0), hostname="nginx", network=True)
    tree = PLATFORMS[USUAL].layer(orders, Store(tmp_path), silent)
    assert set(tree) == {"/", "/init", "/init.conf"} and tree["/init"].mode == 0o755
    assert b"arg /usr/sbin/nginx\n" in tree["/init.conf"].content.read()


def test_more_than_one_processor_can_be_asked_for_besides() -> None:
    recipe = load(paths.shipped("recipes") / "hello")
    assert "SMP" not in PLATFORMS[USUAL].kernel_requirements(recipe)
    assert PLATFORMS[USUAL].kernel_requirements(recipe, smp=True)["SMP"] == "more than one processor"


@pytest.mark.parametrize("kind", MountType)
def test_a_mount_that_the_kernel_lacks_is_known_when_the_image_is_built(kind: MountType, tmp_path: Path) -> None:
    """And what brings it: the hint is followed, as far as that needs no compiler."""
    document = tomllib.loads((paths.shipped("recipes") / "hello" / "recipe.toml").read_text())
    shutil.copy(paths.shipped("recipes") / "hello" / "hello.c", tmp_path)
    document |= {"root": {"mounts": [f"{kind} /mnt"]}, "kernel": {"name": "micro"}}
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
    document["kernel"]["fragments"] = [found[1]]
    assert Build(Recipe.model_validate(document, context=tmp_path), store, silent).plan


def test_more_processors_than_the_kernel_can_use(tmp_path: Path) -> None:
    recipe = load("hello")
    wide = recipe.model_copy(update={"machine": recipe.machine.model_copy(update={"cpus": 65})})
    with pytest.raises(KernelError, match=r"machine\.cpus = 65: the kernel micro uses 64 at most"):
        _ = Build(wide, Store(tmp_path), silent).plan
