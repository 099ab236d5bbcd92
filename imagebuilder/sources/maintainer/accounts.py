"""Users and groups that packages make, with Debian's numbers where these are fixed.

A number that Debian gives out when a package is installed depends there on what was installed before. Here it follows
from the name alone (``usual_number``), so that it stays the same when packages come and go.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from imagebuilder.recipe.values import MAX_ID
from imagebuilder.store import sha256
from imagebuilder.words import whole_number

FIRST, LAST = 100, 999  # what adduser gives to system users (Debian Policy 9.2.2)
NOGROUP = 65534
NOLOGIN = "/usr/sbin/nologin"
MOST_ACCOUNTS = 1000


@dataclass(frozen=True, slots=True)
class User:
    """A line of ``/etc/passwd``, and the package that it comes from."""

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: str = "/nonexistent"
    shell: str = NOLOGIN
    package: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A line of ``/etc/group``, and the package that it comes from."""

    name: str
    gid: int
    members: tuple[str, ...] = ()
    package: str = ""


def usual_number(name: str) -> int:
    """The number of a system user or group that has none fixed, unless another one has it already."""
    return FIRST + int(sha256(name.encode(errors="replace"))[:8], 16) % (LAST - FIRST + 1)


@dataclass
class Accounts:
    """The users and groups of a system that is being set up."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def read_passwd(self, text: str, package: str) -> None:
        """Take the users of a passwd file."""
        for row in _rows(text, 7):
            uid, gid = (whole_number(each, MAX_ID) for each in row[2:4])
            if uid is not None and gid is not None:
                self.users[row[0]] = User(row[0], uid, gid, row[4], row[5], row[6], package)

    def read_group(self, text: str, package: str) -> None:
        """Take the groups of a group file."""
        for row in _rows(text, 4):
            if (gid := whole_number(row[2], MAX_ID)) is not None:
                self.groups[row[0]] = Group(row[0], gid, tuple(filter(None, row[3].split(","))), package)

    def add_group(self, name: str, package: str, *, gid: int | None = None) -> Group:
        """A group, as it is when it is there already."""
        if name not in self.groups and len(self.groups) < MOST_ACCOUNTS and _fits(name):
            number = self._free(name) if gid is None else gid
            self.groups[name] = Group(name, number, package=package)
        return self.groups.get(name, Group("nogroup", NOGROUP))

    def add_user(self, user: User) -> None:
        """A user, as it is when it is there already; a ``uid`` below 0 is to be found."""
        if user.name not in self.users and len(self.users) < MOST_ACCOUNTS and _fits(user.name):
            self.users[user.name] = replace(user, uid=self._free(user.name) if user.uid < 0 else user.uid)

    def join(self, name: str, group: str) -> None:
        """Make a user a member of a group that is there."""
        if group in self.groups and name not in self.groups[group].members:
            known = self.groups[group]
            self.groups[group] = replace(known, members=(*known.members, name))

    def uid(self, word: str) -> int | None:
        """A user's number, by name or number."""
        return self.users[word].uid if word in self.users else whole_number(word, MAX_ID)

    def gid(self, word: str) -> int | None:
        """A group's number, by name or number."""
        return self.groups[word].gid if word in self.groups else whole_number(word, MAX_ID)

    def _free(self, name: str) -> int:
        """The usual number or the next that is free; that of the group of the same name first."""
        if name in self.groups and name not in self.users:
            own = self.groups[name].gid
            if not any(user.uid == own for user in self.users.values()):
                return own
        taken = {user.uid for user in self.users.values()} | {group.gid for group in self.groups.values()}
        first = usual_number(name)
        return next(number for number in chain(range(first, LAST + 1), range(FIRST, 1 << 16)) if number not in taken)


def adduser(accounts: Accounts, words: Sequence[str], package: str) -> bool:
    """``adduser(8)``."""
    options, names = _parsed(words, ADDUSER)
    if "group" in options and "system" not in options:
        return addgroup(accounts, words, package)
    if len(names) == 2:
        accounts.join(*names)
    elif len(names) == 1:
        group = options.get("ingroup") or options.get("gid")
        if group:
            gid = accounts.gid(group)
        elif "group" in options or "system" not in options:
            gid = accounts.add_group(names[0], package, gid=_number(options.get("gid"))).gid
        else:
            gid = NOGROUP
        _add(accounts, names[0], options, NOGROUP if gid is None else gid, package)
    return True


def addgroup(accounts: Accounts, words: Sequence[str], package: str) -> bool:
    """``addgroup(8)``, ``groupadd(8)``."""
    options, names = _parsed(words, ADDUSER)
    if len(names) == 2:
        accounts.join(*names)
    elif len(names) == 1:
        accounts.add_group(names[0], package, gid=_number(options.get("gid")))
    return True


def useradd(accounts: Accounts, words: Sequence[str], package: str) -> bool:
    """``useradd(8)``."""
    options, names = _parsed(words, ADDUSER)
    if len(names) == 1:
        group = options.get("gid")
        gid = accounts.gid(group) if group else accounts.add_group(names[0], package).gid
        _add(accounts, names[0], options, NOGROUP if gid is None else gid, package)
        _join(accounts, names[0], options)
    return True


def usermod(accounts: Accounts, words: Sequence[str], package: str) -> bool:
    """``usermod(8)``: further groups, the home folder."""
    options, names = _parsed(words, ADDUSER)
    for name in names[:1]:
        _join(accounts, name, options)
        if name in accounts.users and "home" in options:
            accounts.users[name] = replace(accounts.users[name], home=_clean(options["home"]))
    return True


def sysusers(accounts: Accounts, text: str, package: str) -> None:
    """The lines of a file of ``sysusers.d(5)``."""
    for line in text.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        kind, name, number, *rest = [*words, "-", "-", "-"][: max(6, len(words))]
        match kind.rstrip("!"):
            case "g":
                accounts.add_group(name, package, gid=_number(number))
            case "u":
                _sysuser(accounts, name, number, rest, package)
            case "m":
                accounts.add_group(number, package)
                accounts.join(name, number)


def _sysuser(accounts: Accounts, name: str, number: str, rest: Sequence[str], package: str) -> None:
    uid, _, group = number.partition(":")
    if group:
        gid = accounts.gid(group)
        gid = NOGROUP if gid is None else gid
    else:
        gid = accounts.add_group(name, package, gid=_number(uid)).gid
    gecos, home, shell = ("" if word == "-" else _clean(word) for word in [*rest, "-", "-", "-"][:3])
    own = _number(uid)
    user = User(name, -1 if own is None else own, gid, gecos, home or "/", shell or NOLOGIN, package)
    accounts.add_user(user)


def _add(accounts: Accounts, name: str, options: Mapping[str, str], gid: int, package: str) -> None:
    uid = _number(options.get("uid"))
    texts = [
        _clean(options.get(key, usual)) for key, usual in (("gecos", ""), ("home", "/nonexistent"), ("shell", NOLOGIN))
    ]
    accounts.add_user(User(name, -1 if uid is None else uid, gid, texts[0], texts[1], texts[2], package))


def _join(accounts: Accounts, name: str, options: Mapping[str, str]) -> None:
    for group in filter(None, options.get("groups", "").split(",")):
        accounts.join(name, group)


# Options with a value, by all their spellings; all others are flags.
ADDUSER: Mapping[str, str] = {
    **dict.fromkeys(("--home", "--home-dir", "-d", "-h"), "home"),
    **dict.fromkeys(("--shell", "-s"), "shell"),
    **dict.fromkeys(("--gecos", "--comment", "-c"), "gecos"),
    **dict.fromkeys(("--uid", "-u"), "uid"),
    **dict.fromkeys(("--gid", "-g"), "gid"),
    "--ingroup": "ingroup",
    **dict.fromkeys(("--groups", "-G", "-aG"), "groups"),
    **dict.fromkeys(
        ("--firstuid", "--lastuid", "--firstgid", "--lastgid", "--conf", "-k", "-K", "-e", "-f", "-p"), "-"
    ),
}


def _parsed(words: Sequence[str], with_value: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    names: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name in with_value:
            options[with_value[name]] = value if equals else next(waiting, "")
        elif word.startswith("-"):
            options[word.lstrip("-")] = ""
        else:
            names.append(word)
    return options, names


def _rows(text: str, fields: int) -> Iterable[list[str]]:
    rows = (line.split(":") for line in text.splitlines())
    return (
        row
        for row in rows
        if len(row) >= fields and row[0] and row[2].isascii() and row[3 if fields > 4 else 2].isascii()
    )


def _number(word: str | None) -> int | None:
    return int(word) if word and word.isascii() and word.isdecimal() and len(word) < 10 else None


def _fits(name: str) -> bool:
    return bool(name) and not set(name) & set(":\n,/\0 ")


def _clean(text: str) -> str:
    return "".join(character for character in text if character not in ":\n\0")


def describe(items: Iterable[User | Group]) -> list[dict[str, Any]]:
    """Users or groups as JSON."""
    return [{name: getattr(item, name) for name in item.__slots__} for item in items]
