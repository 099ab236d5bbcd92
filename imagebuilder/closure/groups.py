"""What is in an image and what was left out, a line for each package, kind of file and reason."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imagebuilder.tree import Kind, Node, Tree

# Path -> what kind of file stands there; the first row that matches counts.
CLASSES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.DOTALL)  # a name may have a newline
    for name, pattern in {
        "documentation": r"/usr/share/(doc|man|info|lintian|doc-base|bug|menu|gtk-doc)/.*",
        "locale": r"/usr/(share|lib)/(locale|i18n|locales|nls)/.*|/usr/lib/[^/]+/gconv/.*",
        "development": r"/usr/include/.*|.*\.(a|h|la|pc)|/usr/share/(pkgconfig|aclocal)/.*",
        "configuration": r"/etc/.*",
        "service": r"/usr/(lib/(systemd|udev|init|tmpfiles\.d|sysusers\.d)|share/(bash-completion|zsh|apparmor))/.*",
        "library": r".*\.so(\.[0-9.]+)?|.*/ld-[^/]+",
        "program": r"/usr(/local)?/(s?bin|libexec|games)/.*",
        "python": r".*\.pyc?",
        "kernel module": r".*/modules/.*\.ko(\.\w+)?",
        "data": r".*",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one package, kind and reason: how many, how large, in the image or not, and why."""

    name: str
    files: int
    bytes: int
    kept: bool
    why: str

    def describe(self) -> dict[str, Any]:
        """The group as JSON."""
        return asdict(self)


def class_of(path: str) -> str:
    """The kind of a file, by its path."""
    return next(name for name, pattern in CLASSES.items() if pattern.fullmatch(path))


def groups(
    tree: Tree, origins: Mapping[str, str], kept: Mapping[str, str], dropped: Mapping[str, str], rest: str
) -> tuple[Group, ...]:
    """All files and links of a tree: ``kept`` and ``dropped`` hold the reason by path, ``rest`` is that of all others.

    The kept come first, then the large ones.
    """
    sizes: defaultdict[tuple[str, bool, str], list[int]] = defaultdict(list)
    for path, node in tree.items():
        if node.kind is not Kind.DIRECTORY:
            name = f"{origins.get(path, 'imagebuilder')}: {class_of(path)}"
            why = kept.get(path) or dropped.get(path, rest)
            sizes[name, path in kept, why].append(_size_bytes(node))
    found = (Group(name, len(each), sum(each), is_kept, why) for (name, is_kept, why), each in sizes.items())
    return tuple(sorted(found, key=lambda group: (not group.kept, -group.bytes, group.name, group.why)))


def _size_bytes(node: Node) -> int:
    return node.size_bytes if node.kind is Kind.FILE else 0
