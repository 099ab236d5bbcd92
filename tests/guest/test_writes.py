"""Whether an application could write anything into a root."""

from dataclasses import replace

import pytest

from imagebuilder.platforms.linux.writes import could_write
from imagebuilder.platforms.users import User
from imagebuilder.recipe.values import Capability
from imagebuilder.tree import Node, Tree, directory, file, symlink

USER = User("app", 1000, 100)
PLAIN = Tree({"/srv": directory(), "/srv/page": file(b"page"), "/srv/link": symlink("/srv/page")})


@pytest.mark.parametrize(
    ("node", "writes"),
    [
        (directory(), False),
        (replace(directory(), uid=1000), True),
        (replace(directory(mode=0o555), uid=1000), False),
        (replace(file(b"", mode=0o664), gid=100), True),
        (replace(file(b"", mode=0o606), gid=100), False),
        (directory(mode=0o1777), True),
        (file(b"", mode=0o646), True),
        (symlink("/x"), False),
    ],
)
def test_what_it_may_write_to(node: Node, writes: bool) -> None:
    tree = Tree({**PLAIN, "/var/app": node})
    assert could_write(tree, USER, (), ()) == writes
    assert not could_write(tree, USER, (), ("/var",)), "what stands below a mount is copied onto it"
    assert not could_write(Tree({**PLAIN, "/dev/app": node}), USER, (), ())


def test_root_and_its_rights() -> None:
    assert could_write(PLAIN, User("root", 0, 0), (), ())
    assert could_write(PLAIN, USER, (Capability.DAC_OVERRIDE,), ())
    assert not could_write(PLAIN, USER, (Capability.NET_BIND_SERVICE, Capability.NET_RAW), ())
