"""Users by name: which numbers stand behind the names that a recipe gives, and the files in which the guest finds them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagebuilder.errors import InputError

Ids = tuple[int, int]
ROOT: Ids = (0, 0)
UNKNOWN: Ids = (999, 999)  # what a name gets that no package knows: the first that Debian's adduser --system would take
NUMBERS = re.compile(r"(\d+)(?::(\d+))?")
NAMED = re.compile(r"([a-z_][a-z0-9_-]*)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class User:
    """A user of the guest; the group of the same name goes with it."""

    name: str
    uid: int
    gid: int


def resolve(words: str, known: Mapping[str, Ids]) -> User:
    """The user that ``name``, ``uid``, ``uid:gid`` or ``name:uid`` stands for. Raises InputError for other words."""
    if match := NUMBERS.fullmatch(words):
        uid = int(match[1])
        gid = int(match[2]) if match[2] else uid
        named = next((name for name, ids in known.items() if ids[0] == uid), f"user{uid}")
        return User(named, uid, gid)
    if match := NAMED.fullmatch(words):
        name = match[1]
        ids = (int(match[2]), int(match[2])) if match[2] else ({"root": ROOT} | dict(known)).get(name, UNKNOWN)
        return User(name, *ids)
    raise InputError(f"the user {words!r} is no user: write a name, a number, 'uid:gid' or 'name:uid'")


def passwd(users: Iterable[User]) -> bytes:
    """``/etc/passwd`` with these users. Nobody can log in: there is no shell."""
    lines = [f"{user.name}:x:{user.uid}:{user.gid}::/:/usr/sbin/nologin" for user in _once(users)]
    return "".join(f"{line}\n" for line in lines).encode()


def group(users: Iterable[User]) -> bytes:
    """``/etc/group`` with one group a user."""
    return "".join(f"{user.name}:x:{user.gid}:\n" for user in _once(users)).encode()


def _once(users: Iterable[User]) -> list[User]:
    return list({user.name: user for user in (User("root", 0, 0), *users)}.values())
