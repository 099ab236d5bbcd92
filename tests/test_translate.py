"""What a recipe comes to in the guest."""

import pytest

from imagebuilder import paths
from imagebuilder.guest.config import Sysctl
from imagebuilder.guest.users import User
from imagebuilder.recipe.load import load
from imagebuilder.translate import init_config

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
    config = init_config(recipe, user, modules=(), overlay=False, ahead=(), low_ports=free, listen_signal=False)
    assert config.sysctls == sysctls
