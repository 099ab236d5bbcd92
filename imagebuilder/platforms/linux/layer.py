"""The OS layer as a Tree: init and its configuration, the users, the few folders and files that programs expect."""

from collections.abc import Iterator, Mapping

from imagebuilder.events import Say
from imagebuilder.platforms.linux.build import provide_init
from imagebuilder.platforms.linux.config import InitConfig, init_conf
from imagebuilder.platforms.linux.configuration import init_config
from imagebuilder.platforms.users import User, group, passwd
from imagebuilder.platforms.values import Orders, Surroundings
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Kind, Node, Tree, directory, file, symlink

HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
# As Debian has it for a host whose address may change.
OWN_ADDRESS = "127.0.1.1"
# What QEMU's user network gives to a guest that may look for names: init has nothing to write there, and writes what
# another network gives. Without a name server no lookup waits for one.
RESOLV: Mapping[Egress, bytes] = {Egress.NONE: b"", Egress.FULL: b"nameserver 10.0.2.3\n"}
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"
TEMPORARY = directory(mode=0o1777)
PROGRAM = "/init"

# Programs find these; what a package brings at the same path stands. Each costs an initramfs 16,000 instructions.
FOLDERS: Mapping[str, Node] = {
    "/dev": directory(),
    # The kernel opens it for init before anything is mounted.
    "/dev/console": Node(Kind.CHARACTER, 0o600, device=(5, 1)),
    "/etc": directory(),
    "/proc": directory(mode=0o555),
    "/run": directory(),
    "/sys": directory(mode=0o555),
    "/tmp": TEMPORARY,
}
# Where Debian's programs look for what is mounted, and keep what they write.
DEBIAN: Mapping[str, Node] = {
    "/etc/mtab": symlink("/proc/self/mounts"),
    "/run/lock": TEMPORARY,
    "/var/cache": directory(),
    "/var/lib": directory(),
    "/var/lock": symlink("/run/lock"),
    "/var/log": directory(),
    "/var/run": symlink("/run"),
    "/var/tmp": TEMPORARY,
}
# A root that cannot be written: the folder that init makes in /dev is one for all, and takes no mount of its own.
READ_ONLY: Mapping[str, Node] = {
    "/dev/shm": TEMPORARY,
    "/run/credentials": directory(),  # secrets
    "/run/instance": directory(),  # what else the host has for this machine
    "/tmp": symlink("/dev/shm"),
    "/var/tmp": symlink("/tmp"),
}
READ_ONLY_DEBIAN: Mapping[str, Node] = {"/run/lock": symlink("/dev/shm")}


def defaults(users: tuple[User, ...], given: Surroundings) -> Tree:
    """What lies under the application's own files."""
    texts = {
        "/etc/passwd": passwd(users, given.passwd_lines),
        "/etc/group": group(users, given.group_lines),
        "/etc/hosts": hosts(given.hostname),
        "/etc/nsswitch.conf": NSSWITCH,
        **({"/etc/resolv.conf": RESOLV[given.egress]} if given.network else {}),
    }
    return Tree({**dict(_folders(given)), **{path: file(text) for path, text in texts.items()}})


def hosts(hostname: str) -> bytes:
    """``/etc/hosts``, in which the host finds its own name."""
    return (HOSTS + (f"{OWN_ADDRESS} {hostname}\n" if hostname != "localhost" else "")).encode()


def _folders(given: Surroundings) -> Iterator[tuple[str, Node]]:
    yield from FOLDERS.items()
    yield from DEBIAN.items() if given.debian else ()
    if given.read_only:  # a place that is mounted stays a folder
        yield from ((path, node) for path, node in READ_ONLY.items() if path not in given.mounted)
        yield from READ_ONLY_DEBIAN.items() if given.debian and "/run" not in given.mounted else ()


def starting(orders: Orders, store: Store, say: Say) -> Tree:
    """What lies over everything: init, prebuilt or compiled now, and its orders. Raises ToolMissing."""
    return init_layer(provide_init(store, say), init_config(orders))


def init_layer(init: Blob, config: InitConfig) -> Tree:
    """What lies over everything: init, and what it is to do."""
    return Tree({PROGRAM: file(init, mode=0o755), "/init.conf": file(init_conf(config))})
