"""Users by name: which numbers stand behind the names that a recipe gives, and the files that tell the guest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagebuilder.errors import InputError
from imagebuilder.recipe.suggestions import nearest
from imagebuilder.recipe.values import NONROOT

Ids = tuple[int, int]
ROOT: Ids = (0, 0)
UNPRIVILEGED: Ids = (65532, 65532)  # as in Distroless images; Debian has no user of this number
HIGHEST_SYSTEM_ID = 999  # Debian Policy 9.2.2: numbers up to this are for system users, made where they are needed


@dataclass(frozen=True, slots=True)
class User:
    """A user of the guest; the group of the same name goes with it."""

    name: str
    uid: int
    gid: int


def resolve(words: str, known: Mapping[str, Ids], *, key: str) -> User:
    """The user that ``name``, ``uid``, ``uid:gid`` or ``name:uid`` means, given the users that the packages know.

    Raises InputError, with the recipe's ``key``, for a name that no package knows.
    """
    first, _, second = words.partition(":")
    users = {"root": ROOT, NONROOT: UNPRIVILEGED, **known}
    if first.isdigit():
        uid, gid = int(first), int(second or first)
        return User(next((name for name, ids in users.items() if ids[0] == uid), f"user{uid}"), uid, gid)
    if second:
        return _added(first, int(second), key)
    if first not in users:
        raise InputError(f'{key}: no package of the image knows a user "{first}"', hint=_hint(first, users))
    return User(first, *users[first])


def _added(name: str, uid: int, key: str) -> User:
    """A user of a name of one's own. Root, and the user where none is named, have their numbers already."""
    fixed = {"root": ROOT, NONROOT: UNPRIVILEGED}
    if uid != fixed.get(name, (uid,))[0]:
        own = fixed[name][0]
        message = f'{key}: "{name}:{uid}" adds a user of the name {name}, which has the number {own}'
        raise InputError(message, hint=f'write "{name}", or the numbers of user and group: "{own}:{uid}"')
    if uid == 0 and name != "root":
        raise InputError(f'{key}: "{name}:0" would be root under another name', hint='write "root"')
    return User(name, uid, uid)


def _hint(name: str, known: Mapping[str, Ids]) -> str:
    taken = {uid for uid, _ in known.values()}
    free = next(uid for uid in range(HIGHEST_SYSTEM_ID, 0, -1) if uid not in taken)
    near = nearest(name, known)
    question = f'did you mean "{near}"? ' if near else ""
    return f'{question}"{name}:{free}" adds a user of this name'


def passwd(users: Iterable[User], known: Mapping[str, str] | None = None) -> bytes:
    """``/etc/passwd`` with these users and the lines of those that packages know. No login: no passwords."""
    own = {user.name: f"{user.name}:x:{user.uid}:{user.gid}::/:/usr/sbin/nologin" for user in _once(users)}
    return _lines(own, known or {}, numbers=slice(2, 4))


def group(users: Iterable[User], known: Mapping[str, str] | None = None) -> bytes:
    """``/etc/group`` with one group a user, and the lines of those that packages know."""
    own = {user.name: f"{user.name}:x:{user.gid}:" for user in _once(users)}
    return _lines(own, known or {}, numbers=slice(2, 3))


def _lines(own: Mapping[str, str], known: Mapping[str, str], *, numbers: slice) -> bytes:
    """Our lines and the packages' lines; where both have a name with the same numbers the package's stands."""
    same = {name for name in own if name in known and own[name].split(":")[numbers] == known[name].split(":")[numbers]}
    lines = {**known, **{name: line for name, line in own.items() if name not in same}}
    first = [lines.pop("root")]
    return "".join(f"{line}\n" for line in [*first, *lines.values()]).encode(errors="surrogateescape")


def _once(users: Iterable[User]) -> list[User]:
    return list({user.name: user for user in (User("root", 0, 0), *users)}.values())
