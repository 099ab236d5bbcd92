"""Users by name: which numbers stand behind the names that a recipe gives, and the files that tell the guest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Ids = tuple[int, int]
ROOT: Ids = (0, 0)
UNKNOWN: Ids = (999, 999)  # what a name gets that no package knows: the first that Debian's adduser --system would take


@dataclass(frozen=True, slots=True)
class User:
    """A user of the guest; the group of the same name goes with it."""

    name: str
    uid: int
    gid: int


def resolve(words: str, known: Mapping[str, Ids]) -> User:
    """The user that ``name``, ``uid``, ``uid:gid`` or ``name:uid`` means, given the users that the packages know."""
    first, _, second = words.partition(":")
    if first.isdigit():
        uid, gid = int(first), int(second or first)
        usual = "root" if uid == 0 else f"user{uid}"
        return User(next((name for name, ids in known.items() if ids[0] == uid), usual), uid, gid)
    if second:
        return User(first, int(second), int(second))
    return User(first, *{"root": ROOT, **known}.get(first, UNKNOWN))


def passwd(users: Iterable[User]) -> bytes:
    """``/etc/passwd`` with these users. Nobody can log in: there is no shell."""
    lines = [f"{user.name}:x:{user.uid}:{user.gid}::/:/usr/sbin/nologin" for user in _once(users)]
    return "".join(f"{line}\n" for line in lines).encode()


def group(users: Iterable[User]) -> bytes:
    """``/etc/group`` with one group a user."""
    return "".join(f"{user.name}:x:{user.gid}:\n" for user in _once(users)).encode()


def _once(users: Iterable[User]) -> list[User]:
    return list({user.name: user for user in (User("root", 0, 0), *users)}.values())
