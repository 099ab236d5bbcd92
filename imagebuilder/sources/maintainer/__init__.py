"""What packages' maintainer scripts would make when they are installed, made from their files; no script is run.

``reader`` reads a script, ``shell`` follows it, ``system`` does to a tree what its commands would do; ``accounts``,
``alternatives``, ``capabilities`` and ``certificates`` know their part.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagebuilder.sources.maintainer import accounts, alternatives, certificates, harmless
from imagebuilder.sources.maintainer.accounts import Accounts, Group, User
from imagebuilder.sources.maintainer.alternatives import Alternative
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Tree

if TYPE_CHECKING:  # what a build with nothing changed needs no more of than the type
    from imagebuilder.sources.maintainer.system import System

__all__ = ["Alternative", "Control", "Group", "Setup", "User", "set_up"]

MASTERS = ("/usr/share/base-passwd/passwd.master", "/usr/share/base-passwd/group.master")
FIELDS = re.compile(r"^(Template|Default): *(.*)$", re.MULTILINE)
SHELLS = re.compile(r"#![ \t]*(/usr)?/bin/(sh|dash|bash)\b")


@dataclass(frozen=True, slots=True)
class Control:
    """Of a package's control files those that count here."""

    postinst: str = ""
    templates: str = ""

    @property
    def answers(self) -> dict[str, str]:
        """What debconf answers when no question was asked."""
        stanzas = (dict(FIELDS.findall(each)) for each in self.templates.split("\n\n"))
        return {each["Template"].strip(): each.get("Default", "").strip() for each in stanzas if "Template" in each}


@dataclass(frozen=True, slots=True)
class Setup:
    """What packages made besides files: accounts, the alternatives that were taken, and by package what is not made
    (nothing: all that layers below it say of that package is made now)."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    unmade: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "users": accounts.describe(self.users),
            "groups": accounts.describe(self.groups),
            "alternatives": [offer.describe() for offer in self.alternatives],
            "unmade": {package: [*what] for package, what in self.unmade.items()},
        }

    def of(self, packages: Collection[str]) -> "Setup":
        """What these packages made; the accounts that every Debian system has are among it."""
        kept = {*packages, "base-passwd"}
        return Setup(
            tuple(user for user in self.users if user.package in kept),
            tuple(group for group in self.groups if group.package in kept),
            tuple(offer for offer in self.alternatives if offer.package in kept),
            {package: what for package, what in self.unmade.items() if package in kept},
        )

    @property
    def passwd(self) -> dict[str, str]:
        """The lines of ``/etc/passwd`` by name; no login by password."""
        rows = {
            each.name: (each.name, "*", each.uid, each.gid, each.gecos, each.home, each.shell) for each in self.users
        }
        return {name: ":".join(map(str, row)) for name, row in rows.items()}

    @property
    def group(self) -> dict[str, str]:
        """The lines of ``/etc/group`` by name."""
        rows = {each.name: (each.name, "*", each.gid, ",".join(each.members)) for each in self.groups}
        return {name: ":".join(map(str, row)) for name, row in rows.items()}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> "Setup":
        """What ``describe`` described."""
        groups = ({**each, "members": tuple(each["members"])} for each in document.get("groups", ()))
        return cls(
            tuple(User(**each) for each in document.get("users", ())),
            tuple(Group(**each) for each in groups),
            tuple(Alternative(**each) for each in document.get("alternatives", ())),
            {package: tuple(what) for package, what in document.get("unmade", {}).items()},
        )


def set_up(
    tree: Tree, origins: Mapping[str, str], controls: Mapping[str, Control]
) -> tuple[Tree, dict[str, str], Setup]:
    """The tree as it is when its packages are set up, the origins of what was made, and what else was made.

    Scripts are followed twice: the first time for the accounts, which another package's may need before (dpkg goes by
    what depends on what).
    """
    known = _followed(tree, origins, controls, Accounts()).accounts
    system = _followed(tree, origins, controls, known)
    whole = Tree(system.nodes)
    taken = alternatives.chosen(whole, system.offered)
    added = {path: (node, package) for path, node, package in alternatives.links(taken)}
    added |= {path: (node, "ca-certificates") for path, node in certificates.made(whole).items()}
    whole, placed = overlay(whole, {path: node for path, (node, _) in added.items()})
    made = {**system.made, **{where: added[path][1] for where, path in placed.items()}}
    unmade = {package: tuple(what) for package, what in system.unmade.items() if what}
    return whole, made, Setup(tuple(known.users.values()), tuple(known.groups.values()), tuple(taken), unmade)


def _followed(tree: Tree, origins: Mapping[str, str], controls: Mapping[str, Control], known: Accounts) -> "System":
    from imagebuilder.sources.maintainer.system import System

    system = System(dict(tree), known)
    _accounts(system, tree, origins)
    for package, control in controls.items():
        if package not in harmless.PACKAGES:
            system.package, system.answers = package, control.answers
            _follow(system, control)
    _tmpfiles(system, tree, origins)
    return system


def _accounts(system: "System", tree: Tree, origins: Mapping[str, str]) -> None:
    """Those that every Debian system has, then those of ``sysusers.d``."""
    passwd, group = (_text(tree, path) for path in MASTERS)
    system.accounts.read_passwd(passwd, "base-passwd")
    system.accounts.read_group(group, "base-passwd")
    for path in _in_folder(tree, "/usr/lib/sysusers.d/"):
        accounts.sysusers(system.accounts, _text(tree, path), origins.get(path, ""))


def _tmpfiles(system: "System", tree: Tree, origins: Mapping[str, str]) -> None:
    from imagebuilder.sources.maintainer.system import tmpfiles

    for path in _in_folder(tree, "/usr/lib/tmpfiles.d/"):
        system.package = origins.get(path, "")
        tmpfiles(system, _text(tree, path))


def _in_folder(tree: Tree, folder: str) -> Iterable[str]:
    return [path for path in tree if path.startswith(folder) and path.endswith(".conf")]


def _follow(system: "System", control: Control) -> None:
    from imagebuilder.sources.maintainer.reader import Unreadable
    from imagebuilder.sources.maintainer.shell import follow

    if not control.postinst:
        return
    if not SHELLS.match(control.postinst):
        system.unmade[system.package] = ["what its postinst does, which is no shell script"]
        return
    try:
        follow(control.postinst, system)
    except Unreadable as error:
        system.unmade.setdefault(system.package, []).append(f"what its postinst does, which cannot be read ({error})")


def _text(tree: Tree, path: str) -> str:
    from imagebuilder.sources.maintainer.system import LONGEST_TEXT

    node = tree.get(path)
    data = node.content.read() if node is not None and node.kind is Kind.FILE else b""
    return data[:LONGEST_TEXT].decode(errors="surrogateescape")


def joined(setups: Iterable[Setup]) -> Setup:
    """Several as one; of accounts with one name the later counts."""
    users, groups, unmade = dict[str, User](), dict[str, Group](), dict[str, tuple[str, ...]]()
    offers: list[Alternative] = []
    for setup in setups:
        users |= {user.name: user for user in setup.users}
        groups |= {group.name: group for group in setup.groups}
        offers += setup.alternatives
        unmade |= setup.unmade
    unmade = {package: what for package, what in unmade.items() if what}
    return Setup(tuple(users.values()), tuple(groups.values()), tuple(offers), unmade)
