"""The system that a package is set up on: a tree, and what the commands of maintainer scripts do to it."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imagebuilder.arch import TARGET
from imagebuilder.sources.maintainer import accounts, capabilities, harmless
from imagebuilder.sources.maintainer.accounts import Accounts
from imagebuilder.sources.maintainer.alternatives import Alternative, offers
from imagebuilder.sources.maintainer.shell import UNKNOWN, Did, Status
from imagebuilder.tree import Kind, Node, clean_path, directory, file, is_below, resolve_in, symlink

PROGRAM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LONGEST_TEXT = 1 << 16
MOST_UNMADE = 20


@dataclass
class System:
    """The files so far, changed as scripts are followed; ``unmade`` is what is not done of that, by package."""

    nodes: dict[str, Node]
    accounts: Accounts = field(default_factory=Accounts)
    offered: list[Alternative] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)  # path -> package
    unmade: dict[str, list[str]] = field(default_factory=dict)
    package: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)  # of debconf

    # As a Host (shell.py)

    def run(self, did: Did) -> Status:
        """What a command does here; it is noted when that is not known."""
        name = posixpath.basename(did.words[0])
        status: Status = None
        if did.writes and self._writes_away(did):
            return self._write(did)
        handler = COMMANDS.get(name)
        if handler is not None:
            status = handler(self, did)
        elif name in ASKED:
            return ASKED[name](self, did.words)
        elif name not in harmless.COMMANDS and not name.startswith(harmless.PREFIXES) and not self._is_idle(did):
            self.note(did, did.words[0])
        return True if handler is not None and status is None else status

    def output(self, words: Sequence[str]) -> str:
        """What a command prints, for the few that matter."""
        match [posixpath.basename(words[0]), *words[1:]]:
            case ["dpkg", "--print-architecture"]:
                return TARGET.debian
            case ["dpkg-architecture", "-qDEB_HOST_MULTIARCH" | "-qDEB_BUILD_MULTIARCH"]:
                return TARGET.multiarch
            case ["dpkg-divert", *_, "--truename", path] | ["echo", path] | ["readlink", "-f", path]:
                return path
            case ["basename", path]:
                return posixpath.basename(path)
            case ["dirname", path]:
                return posixpath.dirname(path)
            case ["which" | "command", *_, program]:
                return self.program(program) or ""
            case ["db_get", question]:
                return self.answers.get(question, UNKNOWN)
        return UNKNOWN

    def test(self, operator: str, path: str) -> Status:
        """``[ -OPERATOR path ]``; a folder that is not of packages is one of a system that runs."""
        node = self.at(path) if operator not in ("-L", "-h") else self.nodes.get(_clean(path) or "")
        if node is None:
            return path.rstrip("/") in ("/proc", "/dev", "/sys", "/tmp", "/root", "/etc", "/var", "/run") or False
        kinds = {"-d": Kind.DIRECTORY, "-f": Kind.FILE, "-L": Kind.SYMLINK, "-h": Kind.SYMLINK}
        if operator in kinds:
            return node.kind is kinds[operator]
        if operator == "-x":
            return node.kind is Kind.DIRECTORY or bool(node.mode & 0o111)
        if operator == "-s":
            return node.size_bytes > 0
        return True if operator in ("-e", "-r", "-w") else None

    # What handlers use

    def at(self, path: str) -> Node | None:
        """What one finds at a path, through links."""
        place = self.place(path)
        return None if place is None else self.nodes.get(place)

    def place(self, path: str) -> str | None:
        """Where a path leads, through the links that there are; None for no place in a tree."""
        clean = _clean(path)
        if clean is None:
            return None
        found = resolve_in(self.nodes, clean)
        if found is not None:
            return found
        folder, _, name = clean.rpartition("/")
        above = self.place(folder) if folder else "/"
        return None if above is None or clean == "/" else f"{above.rstrip('/')}/{name}"

    def put(self, path: str, node: Node) -> bool:
        """Put a node at a path, with the folders above it; False where there is no place for it."""
        place = self.place(path)
        if place is None or place == "/":
            return False
        parts = place.split("/")
        for parent in ("/".join(parts[:count]) for count in range(2, len(parts))):
            if self.nodes.setdefault(parent, directory()).kind is not Kind.DIRECTORY:
                return False
            self.made.setdefault(parent, self.package)
        if place in self.nodes and (self.nodes[place].kind is Kind.DIRECTORY) != (node.kind is Kind.DIRECTORY):
            return False
        self.nodes[place] = node
        self.made[place] = self.package
        return True

    def program(self, name: str) -> str | None:
        """The path of a program; one that we do the work of counts as there."""
        if "/" in name:
            return name if self.at(name) else None
        found = next((path for each in PROGRAM_FOLDERS if self.at(path := f"{each}/{name}")), None)
        return found or (f"/usr/bin/{name}" if name in COMMANDS else None)

    def note(self, did: Did, what: str) -> None:
        """Remember that something is not made."""
        noted = self.unmade.setdefault(self.package, [])
        silent = did.doubtful or not what.isprintable() or any(folder in what for folder in harmless.FOLDERS)
        if not silent and what not in noted and len(noted) < MOST_UNMADE:
            noted.append(what)

    def _is_idle(self, did: Did) -> bool:
        """Whether all that a program is to work on are folders in which nothing is."""
        folders = [self.place(word) for word in did.words[1:] if word.startswith("/")]
        full = tuple(f"{folder}/" for folder in folders if folder)
        return bool(folders) and not any(path.startswith(full) for path in self.nodes)

    # Texts that scripts write

    def _writes_away(self, did: Did) -> bool:
        return any(path.startswith("/") and not path.startswith(harmless.FOLDERS) for _, path in did.writes)

    def _write(self, did: Did) -> Status:
        operator, path = did.writes[-1]
        text = _printed(self, did)
        if did.doubtful or UNKNOWN in path:
            return None
        old = self.at(path)
        before = old.content.read() if operator == ">>" and old and old.kind is Kind.FILE else b""
        if text is None or len(before) + len(text) > LONGEST_TEXT or not self.put(path, file(before + text)):
            self.note(did, path)
        return True


def _clean(path: str) -> str | None:
    if not path.startswith("/") or UNKNOWN in path or len(path) > 4096:
        return None
    return clean_path(posixpath.normpath(path))


def _printed(system: System, did: Did) -> bytes | None:
    """What a command prints into a file; None when that is not known."""
    name, *words = did.words
    if name == ":":
        return b""
    if name == "cat" and not words and UNKNOWN not in did.text:
        return did.text.encode(errors="surrogateescape")
    if name == "cat" and len(words) == 1 and (node := system.at(words[0])) and node.kind is Kind.FILE:
        return node.content.read()
    if name == "echo" and not any(UNKNOWN in word or "\\" in word for word in words):
        end = b"" if words[:1] == ["-n"] else b"\n"
        return " ".join(word for word in words if word not in ("-n", "-e")).encode(errors="surrogateescape") + end
    return None


# Handlers of commands: what each does to the system


def _options(words: Sequence[str], with_value: str) -> tuple[dict[str, str], list[str]]:
    """Short options (those in ``with_value`` take the next word) by letter, and the other words."""
    options: dict[str, str] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += waiting
        elif word.startswith("--"):
            name, _, value = word[2:].partition("=")
            options[name[:1]] = value
        elif len(word) > 1 and word[0] == "-":
            for at, letter in enumerate(word[1:], start=1):
                if letter in with_value:
                    options[letter] = word[at + 1 :] or next(waiting, "")
                    break
                options[letter] = ""
        else:
            rest.append(word)
    return options, rest


def _mode(text: str, old: int) -> int | None:
    """A mode by number, or changed as ``u+s,g-w`` says; None for what is not understood."""
    if text and set(text) <= set("01234567") and len(text) <= 5:
        return int(text, 8) & 0o7777
    for clause in text.split(","):
        sign = next((each for each in "+-=" if each in clause), None)
        if sign is None:
            return None
        who, _, what = clause.partition(sign)
        if not set(who) <= set("ugoa") or not set(what) <= set("rwxXst"):
            return None
        bits = _bits(who or "a", what, old)
        clear = _bits(who or "a", "rwxst" if sign == "=" else "", old)
        old = old & ~bits if sign == "-" else (old & ~clear) | bits
    return old


def _bits(who: str, what: str, old: int) -> int:
    people = "ugo" if "a" in who else who
    shifts = {"u": 6, "g": 3, "o": 0}
    bits = 0
    for each in people:
        bits |= sum(1 << shifts[each] + place for place, letter in enumerate("xwr") if letter in what)
        bits |= (1 << shifts[each]) if "X" in what and old & 0o111 else 0
        bits |= {"u": 0o4000, "g": 0o2000}.get(each, 0) if "s" in what else 0
    return bits | (0o1000 if "t" in what else 0)


def _owned(system: System, words: str, node: Node) -> Node | None:
    user, _, group = words.partition(":") if ":" in words else words.partition(".")
    uid = system.accounts.uid(user) if user else node.uid
    gid = system.accounts.gid(group) if group else node.gid
    return None if uid is None or gid is None else replace(node, uid=uid, gid=gid)


def _mkdir(system: System, did: Did) -> None:
    options, paths = _options(did.words[1:], "mZ")
    mode = _mode(options.get("m", "755"), 0o755)
    for path in _known(paths):
        if system.at(path) is None and mode is not None:
            system.put(path, directory(mode=mode))


def _install(system: System, did: Did) -> None:
    options, paths = _options(did.words[1:], "mogtS")
    folder = "d" in options
    if not folder and (did.doubtful or len(paths) != 2):
        return system.note(did, " ".join(did.words[:1] + tuple(paths[-1:])))
    mode = _mode(options.get("m", "755"), 0o755)
    for path in _known(paths if folder else paths[1:]):
        old = None if folder else _file_at(system, paths[0])
        node = directory(mode=0o755 if mode is None else mode) if folder else old and replace(old, mode=mode or 0o755)
        owned = node and _owned(system, f"{options.get('o', '')}:{options.get('g', '')}", node)
        if owned is None or not system.put(_into(system, paths[0], path) if not folder else path, owned):
            system.note(did, path)
    return None


def _touch(system: System, did: Did) -> None:
    for path in _known(_options(did.words[1:], "drt")[1]):
        if system.at(path) is None:
            system.put(path, file(b""))


def _link(system: System, did: Did) -> None:
    options, paths = _options(did.words[1:], "tS")
    if did.doubtful or len(paths) != 2 or any(UNKNOWN in path for path in paths):
        return
    target, path = paths
    place = _into(system, target, path)
    if "s" in options and ("f" in options or system.at(place) is None):
        system.put(place, symlink(target))


def _copy(system: System, did: Did) -> None:
    options, paths = _options(did.words[1:], "tS")
    if did.doubtful or len(paths) != 2 or any(UNKNOWN in path for path in paths):
        return
    node = _file_at(system, paths[0])
    place = _into(system, *paths)
    kept = node if node is None or options.keys() & {"a", "p"} else replace(node, uid=0, gid=0, xattrs=())
    if node is not None and kept is not None and not system.put(place, kept):
        system.note(did, place)


def _ucf(system: System, did: Did) -> None:
    paths = [word for word in did.words[1:] if word.startswith("/")]
    if len(paths) == 2 and system.at(paths[1]) is None:
        _copy(system, Did(("cp", *paths), doubtful=did.doubtful))


def _chmod(system: System, did: Did) -> None:
    options, words = _options(did.words[1:], "")
    if did.words[1:2] and did.words[1].startswith("-") and len(did.words) > 2 and set(did.words[1][1:]) <= set("rwxst"):
        words = list(did.words[1:])
    for place in _places(system, words[1:], "R" in options) if words and not did.doubtful else ():
        mode = _mode(words[0], system.nodes[place].mode)
        if mode is not None and system.nodes[place].kind is not Kind.SYMLINK:
            system.nodes[place] = replace(system.nodes[place], mode=mode)


def _chown(system: System, did: Did) -> Status:
    options, words = _options(did.words[1:], "")
    owner = f":{words[0]}" if words and did.words[0].endswith("chgrp") else words[0] if words else ""
    for place in _places(system, words[1:], "R" in options) if not did.doubtful else ():
        owned = _owned(system, owner, system.nodes[place])
        if owned is None:
            system.note(did, f"{did.words[0]} {words[0]} {place}")
            return False
        system.nodes[place] = owned
    return True


def _statoverride(system: System, did: Did) -> Status:
    words = [word for word in did.words[1:] if not word.startswith("-")]
    if "--add" not in did.words or len(words) != 4:
        return False  # --list: none yet
    user, group, mode, path = words
    _chown(system, replace(did, words=("chown", f"{user}:{group}", path)))
    _chmod(system, replace(did, words=("chmod", mode, path)))
    return True


def _setcap(system: System, did: Did) -> None:
    words = [word for word in did.words[1:] if word not in ("-q", "-v", "-n")]
    for text, path in zip(words[::2], words[1::2], strict=False):
        value, place = capabilities.encoded(text), system.place(path)
        if value is not None and place in system.nodes and not did.doubtful:
            system.nodes[place] = replace(system.nodes[place], xattrs=((capabilities.NAME, value),))


def _alternatives(system: System, did: Did) -> None:
    if not any(UNKNOWN in word for word in did.words):
        system.offered += offers(did.words[1:], system.package)


def _account(
    handler: Callable[[Accounts, Sequence[str], str], bool],
) -> "Callable[[System, Did], Status]":
    def run(system: System, did: Did) -> Status:
        known = [word for word in did.words[1:] if UNKNOWN not in word]
        return handler(system.accounts, known, system.package)

    return run


def _sysusers(system: System, did: Did) -> None:
    if UNKNOWN not in did.text:
        accounts.sysusers(system.accounts, did.text, system.package)


def _tmpfiles(system: System, did: Did) -> None:
    for word in did.words[1:]:
        for folder in ("/usr/lib/tmpfiles.d", "/etc/tmpfiles.d"):
            node = _file_at(system, word if word.startswith("/") else f"{folder}/{word}")
            if node is not None and not word.startswith("-"):
                tmpfiles(system, node.content.read()[:LONGEST_TEXT].decode(errors="surrogateescape"))


def tmpfiles(system: System, text: str) -> None:
    """The folders that lines of ``tmpfiles.d(5)`` make."""
    for line in text.splitlines():
        kind, path, mode, user, group = [*line.split()[:5], *["-"] * 5][:5]
        if kind.rstrip("!-=") in ("d", "D", "v", "q", "Q") and "%" not in path and system.at(path) is None:
            bits = _mode(mode.lstrip("~:"), 0o755)
            owner = f"{'root' if user == '-' else user}:{'root' if group == '-' else group}"
            node = _owned(system, owner, directory(mode=0o755 if mode == "-" or bits is None else bits))
            system.put(path, node or directory())


def _sed(system: System, did: Did) -> None:
    in_place = any(word.startswith(("-i", "--in-place")) or word in ("-ri", "-Ei", "-ei") for word in did.words[1:])
    if in_place and did.words[-1].startswith("/") and system.at(did.words[-1]) is not None:
        system.note(did, did.words[-1])


def _known(paths: Iterable[str]) -> Iterator[str]:
    return (path for path in paths if path.startswith("/") and UNKNOWN not in path)


def _file_at(system: System, path: str) -> Node | None:
    node = system.at(path)
    return node if node is not None and node.kind is Kind.FILE else None


def _into(system: System, source: str, target: str) -> str:
    """The place of a copy: in the target, where that is a folder."""
    node = system.at(target)
    into = target.endswith("/") or (node is not None and node.kind is Kind.DIRECTORY)
    return f"{target.rstrip('/')}/{posixpath.basename(source)}" if into else target


def _places(system: System, paths: Iterable[str], whole: bool) -> list[str]:
    found = [place for path in _known(paths) if (place := system.place(path)) in system.nodes and place]
    if whole:
        folders = frozenset(found)
        found += [path for path in system.nodes if "/" in folders or is_below(path, folders)]
    return found


COMMANDS: Mapping[str, Callable[[System, Did], Status]] = {
    "mkdir": _mkdir,
    "install": _install,
    "touch": _touch,
    "ln": _link,
    "cp": _copy,
    "ucf": _ucf,
    "chmod": _chmod,
    "chown": _chown,
    "chgrp": _chown,
    "dpkg-statoverride": _statoverride,
    "setcap": _setcap,
    "update-alternatives": _alternatives,
    "adduser": _account(accounts.adduser),
    "addgroup": _account(accounts.addgroup),
    "groupadd": _account(accounts.addgroup),
    "useradd": _account(accounts.useradd),
    "usermod": _account(accounts.usermod),
    "systemd-sysusers": _sysusers,
    "systemd-tmpfiles": _tmpfiles,
    "sed": _sed,
    "update-ca-certificates": lambda system, did: True,  # certificates.py
    "shadowconfig": lambda system, did: True,
    "update-passwd": lambda system, did: True,
}


# Questions: what the system answers


def _getent(system: System, words: Sequence[str]) -> Status:
    known: Mapping[str, Mapping[str, object]] = {"passwd": system.accounts.users, "group": system.accounts.groups}
    return words[2] in known[words[1]] if len(words) == 3 and words[1] in known and UNKNOWN not in words[2] else None


def _id(system: System, words: Sequence[str]) -> Status:
    names = [word for word in words[1:] if not word.startswith("-")]
    return names[0] in system.accounts.users if names and UNKNOWN not in names[0] else None


def _which(system: System, words: Sequence[str]) -> Status:
    return system.program(words[-1]) is not None if len(words) > 1 and UNKNOWN not in words[-1] else None


def _dpkg(system: System, words: Sequence[str]) -> Status:
    """No version at all is earlier than any (dpkg(1), --compare-versions)."""
    if len(words) == 5 and words[1] == "--compare-versions" and not words[2]:
        return {"lt": True, "le": True, "gt": False, "ge": False, "lt-nl": False, "le-nl": False}.get(words[3])
    return None


def _grep(system: System, words: Sequence[str]) -> Status:
    absent = words[-1].startswith("/") and UNKNOWN not in words[-1] and system.at(words[-1]) is None
    return False if absent else None


ASKED: Mapping[str, Callable[[System, Sequence[str]], Status]] = {
    "getent": _getent,
    "id": _id,
    "which": _which,
    "command": _which,
    "type": _which,
    "dpkg": _dpkg,
    "grep": _grep,
    "egrep": _grep,
    "ischroot": lambda system, words: True,
    "mountpoint": lambda system, words: True,
    **dict.fromkeys(("echo", "printf", "deb-systemd-helper", "systemctl", "rm", "sleep"), lambda system, words: True),
}
