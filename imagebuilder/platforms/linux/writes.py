"""Whether an application could write anything into a root: one that cannot has it as it is, without a tmpfs over it."""

from collections.abc import Collection

from imagebuilder.platforms.users import User
from imagebuilder.recipe.values import Capability
from imagebuilder.tree import Kind, Node, Tree

# Each of them stands for what the mode of a file does not allow.
WRITING = frozenset(Capability) - {Capability.NET_BIND_SERVICE, Capability.NET_RAW, Capability.SYS_NICE}
OWNER, GROUP, OTHERS = 0o200, 0o020, 0o002


def could_write(tree: Tree, user: User, granted: Collection[Capability], mounted: Collection[str]) -> bool:
    """Whether there is a file or folder in the tree, and not below what is ``mounted``, that the user may write to."""
    if user.uid == 0 or WRITING & frozenset(granted):
        return True
    below = tuple(f"{place.rstrip('/')}/" for place in (*mounted, "/dev", "/proc"))
    return any(_may_write(node, user) for path, node in tree.items() if not f"{path}/".startswith(below))


def _may_write(node: Node, user: User) -> bool:
    if node.kind is Kind.SYMLINK:
        return False
    if node.uid == user.uid:
        return bool(node.mode & OWNER)
    return bool(node.mode & (GROUP if node.gid == user.gid else OTHERS))
