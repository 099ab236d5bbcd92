"""File capabilities in the kernel's form (``struct vfs_cap_data`` of linux/capability.h), as ``setcap`` writes them."""

import re
import struct
from collections.abc import Collection, Mapping

from imagebuilder.recipe.values import Capability
from imagebuilder.tree import Tree

NAME = "security.capability"
REVISION_2, EFFECTIVE = 0x02000000, 1
FORM = struct.Struct("<5I")
NUMBERS: Mapping[str, int] = {f"cap_{each}": each.number for each in Capability}
CLAUSE = re.compile(r"([a-z_,]+)([=+])([eip]+)")


def encoded(text: str) -> bytes | None:
    """The attribute's value for a text such as ``cap_net_raw+ep``; None for one that is not understood."""
    sets = dict.fromkeys("eip", 0)
    for clause in text.split():
        match = CLAUSE.fullmatch(clause)
        if match is None or not all(name in NUMBERS for name in match[1].split(",")):
            return None
        bits = sum(1 << number for number in {NUMBERS[name] for name in match[1].split(",")})
        for letter in match[3]:
            sets[letter] |= bits
    if not any(sets.values()):
        return None
    effective = EFFECTIVE if sets["e"] else 0
    low, high = 0xFFFF_FFFF, 32
    words = (sets["p"] & low, sets["i"] & low, sets["p"] >> high, sets["i"] >> high)
    return FORM.pack(REVISION_2 | effective, *words)


def decoded(value: bytes) -> tuple[Capability, ...]:
    """The capabilities that an attribute's value gives, permitted or inheritable; none for one that makes no sense."""
    if len(value) < FORM.size:
        return ()
    _, *words = FORM.unpack_from(value)
    bits = words[0] | words[1] | (words[2] | words[3]) << 32
    return tuple(each for each in Capability if bits >> each.number & 1)


def ungranted(tree: Tree, granted: Collection[Capability]) -> dict[str, tuple[Capability, ...]]:
    """The files that give capabilities besides the granted ones, and which."""
    given = {path: decoded(dict(node.xattrs).get(NAME, b"")) for path, node in tree.items() if node.xattrs}
    lacking = {path: tuple(each for each in found if each not in granted) for path, found in given.items()}
    return {path: names for path, names in lacking.items() if names}
