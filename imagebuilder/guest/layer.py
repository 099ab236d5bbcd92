"""The OS layer as a Tree: init and its configuration, the users, the few folders and files that programs expect."""

from collections.abc import Mapping

from imagebuilder.guest.config import InitConfig, init_conf
from imagebuilder.guest.users import User, group, passwd
from imagebuilder.tree import Blob, Kind, Node, Tree, directory, file

HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"
# What QEMU's user network tells: init has nothing to write there, and writes what another network tells.
RESOLV = b"nameserver 10.0.2.3\n"
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"

# Programs find these; what a package brings at the same path stands.
FOLDERS: Mapping[str, Node] = {
    "/dev": directory(),
    # The kernel opens it for init before anything is mounted.
    "/dev/console": Node(Kind.CHARACTER, 0o600, device=(5, 1)),
    "/dev/null": Node(Kind.CHARACTER, 0o666, device=(1, 3)),
    "/etc": directory(),
    "/proc": directory(mode=0o555),
    "/run": directory(),
    "/run/instance": directory(),  # what the host has for a clone
    "/sys": directory(mode=0o555),
    "/tmp": directory(mode=0o1777),
}


def defaults(
    users: tuple[User, ...],
    *,
    passwd_lines: Mapping[str, str] | None = None,
    group_lines: Mapping[str, str] | None = None,
) -> Tree:
    """What lies under the application's own files; the lines are those of the accounts that packages make, by name."""
    texts = {
        "/etc/passwd": passwd(users, passwd_lines),
        "/etc/group": group(users, group_lines),
        "/etc/hosts": HOSTS,
        "/etc/nsswitch.conf": NSSWITCH,
        "/etc/resolv.conf": RESOLV,
    }
    return Tree({**FOLDERS, **{path: file(text) for path, text in texts.items()}})


def init_layer(init: Blob, config: InitConfig) -> Tree:
    """What lies over everything: init, and what it is to do."""
    return Tree({"/init": file(init, mode=0o755), "/init.conf": file(init_conf(config))})
