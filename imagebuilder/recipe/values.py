"""Words that a recipe may use, and checks of small texts: a user, a limit, a mount, a path.

Each check raises ValueError with a sentence for the user.
"""

import re
import signal
from collections.abc import Container
from enum import StrEnum
from urllib.parse import urlsplit

from imagebuilder.errors import InputError
from imagebuilder.tree import clean_path

MAX_ID = 2**32 - 2  # the highest number means "leave it as it is" to Linux
MAX_LIMIT = 2**64 - 2  # the highest means "unlimited"
UNLIMITED = "unlimited"
LONGEST_PATH = 4096
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NONROOT = "nonroot"  # the user where a recipe names none; docs/recipe.md has its number
USER = re.compile(r"(?:[a-z_][a-z0-9_-]{0,31}|([0-9]{1,10}))(?::([0-9]{1,10}))?")


class FileKind(StrEnum):
    """Where the content of an added file comes from."""

    SOURCE = "source"
    TEMPLATE = "template"
    TEXT = "text"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


AUTO_KERNEL = "auto"  # instead of a kernel's name


class RootFormat(StrEnum):
    """How the image's root file system is stored."""

    AUTO = "auto"
    INITRAMFS = "initramfs"
    MEMORY = "memory"
    EROFS = "erofs"
    SQUASHFS = "squashfs"


class Runtime(StrEnum):
    """What is known to need more than its libraries: interpreters, and what several of them share."""

    PYTHON = "python"
    NODE = "node"
    JAVA = "java"
    PHP = "php"
    PERL = "perl"
    RUBY = "ruby"
    BUSYBOX = "busybox"
    CERTIFICATES = "certificates"
    TIME_ZONES = "time-zones"


class PrepareKind(StrEnum):
    """What a machine that prepares the tree runs."""

    COMMAND = "command"
    POSTINST = "postinst"


class Restart(StrEnum):
    """Whether a helper that has ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"


class HelperReadyKind(StrEnum):
    """How init sees that a helper is ready."""

    PORT = "port"
    FILE = "file"
    LINE = "line"


class ReadyKind(StrEnum):
    """How one sees that the application is ready."""

    HTTP = "http"
    TCP = "tcp"
    CONSOLE = "console"
    EXIT = "exit"


class StopSignal(StrEnum):
    """The signals with which an application can be asked to end."""

    TERM = "TERM"
    INT = "INT"
    QUIT = "QUIT"
    HUP = "HUP"
    USR1 = "USR1"
    USR2 = "USR2"
    WINCH = "WINCH"
    KILL = "KILL"

    @property
    def number(self) -> int:
        """Its number on Linux."""
        return int(signal.Signals[f"SIG{self.value}"])


class CloneSignal(StrEnum):
    """The signals that tell an application that it goes on as a clone."""

    HUP = "HUP"
    INT = "INT"
    USR1 = "USR1"
    USR2 = "USR2"
    WINCH = "WINCH"

    @property
    def number(self) -> int:
        """Its number on Linux."""
        return int(signal.Signals[f"SIG{self.value}"])


class Egress(StrEnum):
    """What a guest can reach besides those who connect to its ports."""

    NONE = "none"
    FULL = "full"


class Capability(StrEnum):
    """What root may do beyond an ordinary user, in parts (``man 7 capabilities``); in the order of their numbers."""

    CHOWN = "chown"
    DAC_OVERRIDE = "dac_override"
    DAC_READ_SEARCH = "dac_read_search"
    FOWNER = "fowner"
    FSETID = "fsetid"
    KILL = "kill"
    SETGID = "setgid"
    SETUID = "setuid"
    SETPCAP = "setpcap"
    LINUX_IMMUTABLE = "linux_immutable"
    NET_BIND_SERVICE = "net_bind_service"
    NET_BROADCAST = "net_broadcast"
    NET_ADMIN = "net_admin"
    NET_RAW = "net_raw"
    IPC_LOCK = "ipc_lock"
    IPC_OWNER = "ipc_owner"
    SYS_MODULE = "sys_module"
    SYS_RAWIO = "sys_rawio"
    SYS_CHROOT = "sys_chroot"
    SYS_PTRACE = "sys_ptrace"
    SYS_PACCT = "sys_pacct"
    SYS_ADMIN = "sys_admin"
    SYS_BOOT = "sys_boot"
    SYS_NICE = "sys_nice"
    SYS_RESOURCE = "sys_resource"
    SYS_TIME = "sys_time"
    SYS_TTY_CONFIG = "sys_tty_config"
    MKNOD = "mknod"
    LEASE = "lease"
    AUDIT_WRITE = "audit_write"
    AUDIT_CONTROL = "audit_control"
    SETFCAP = "setfcap"
    MAC_OVERRIDE = "mac_override"
    MAC_ADMIN = "mac_admin"
    SYSLOG = "syslog"
    WAKE_ALARM = "wake_alarm"
    BLOCK_SUSPEND = "block_suspend"
    AUDIT_READ = "audit_read"
    PERFMON = "perfmon"
    BPF = "bpf"
    CHECKPOINT_RESTORE = "checkpoint_restore"

    @property
    def number(self) -> int:
        """Its number on Linux (linux/capability.h)."""
        return list(Capability).index(self)


class LimitName(StrEnum):
    """What Linux limits per process (``man 2 getrlimit``)."""

    AS = "as"
    CORE = "core"
    CPU = "cpu"
    DATA = "data"
    FSIZE = "fsize"
    LOCKS = "locks"
    MEMLOCK = "memlock"
    MSGQUEUE = "msgqueue"
    NICE = "nice"
    NOFILE = "nofile"
    NPROC = "nproc"
    RSS = "rss"
    RTPRIO = "rtprio"
    RTTIME = "rttime"
    SIGPENDING = "sigpending"
    STACK = "stack"


class MountType(StrEnum):
    """File systems; those of a disk take the option ``source=/dev/vda``."""

    TMPFS = "tmpfs"
    PROC = "proc"
    SYSFS = "sysfs"
    DEVTMPFS = "devtmpfs"
    DEVPTS = "devpts"
    MQUEUE = "mqueue"
    HUGETLBFS = "hugetlbfs"
    CGROUP2 = "cgroup2"
    BPF = "bpf"
    DEBUGFS = "debugfs"
    TRACEFS = "tracefs"
    EXT4 = "ext4"
    XFS = "xfs"
    BTRFS = "btrfs"
    VFAT = "vfat"
    EROFS = "erofs"
    SQUASHFS = "squashfs"
    OVERLAY = "overlay"
    VIRTIOFS = "virtiofs"
    NINE_P = "9p"


def image_path(text: str) -> None:
    """An absolute path in its one spelling."""
    if len(text) > LONGEST_PATH:
        raise ValueError(f"expected a path of at most {LONGEST_PATH:,} characters")
    if not text.startswith("/") or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("expected an absolute path, as in '/etc/app.conf'")
    try:
        clean = clean_path(text)
    except InputError as error:
        raise ValueError("expected an absolute path without '..'") from error
    if clean != text:
        raise ValueError(f"expected a path without '.', '//' or a '/' at the end, '{clean}'")


def user(text: str) -> None:
    """``name``, ``uid``, ``uid:gid`` or ``name:uid``."""
    matched = USER.fullmatch(text)
    if not matched:
        raise ValueError("expected a user: a name, 'uid', 'uid:gid' or 'name:uid'")
    if any(int(number or 0) > MAX_ID for number in matched.groups()):
        raise ValueError(f"expected a user's number of at most {MAX_ID}")


def limit(value: int | str) -> None:
    """A number for both limits, or ``soft:hard``; each may be ``unlimited``."""
    words = str(value).split(":")
    if len(words) > 2 or not all(word == UNLIMITED or re.fullmatch("[0-9]{1,20}", word) for word in words):
        raise ValueError("expected a limit: a number, 'unlimited' or 'soft:hard'")
    numbers = [MAX_LIMIT + 1 if word == UNLIMITED else int(word) for word in words]
    if numbers[0] > numbers[-1]:
        raise ValueError("expected a soft limit that is at most the hard one")
    if any(word != UNLIMITED and number > MAX_LIMIT for word, number in zip(words, numbers, strict=True)):
        raise ValueError(f"expected a limit of at most {MAX_LIMIT}")


def mount(text: str) -> None:
    """``TYPE TARGET [OPTIONS]``, options as in ``/etc/fstab``."""
    words = text.split(" ")
    if len(words) not in (2, 3) or not all(words):
        raise ValueError("expected 'TYPE TARGET OPTIONS', as in 'tmpfs /run mode=0755,size=4m'")
    if words[0] not in list(MountType):
        raise ValueError(f"expected one of {', '.join(MountType)} to mount")
    image_path(words[1])


def download_url(text: str, trusted: Container[str] = ()) -> None:
    """A URL that may be downloaded from: https, or plain HTTP of this machine's loopback and of hosts that are
    ``trusted``. Raises ValueError."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("expected a URL of https") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("expected a URL of https")
    if parts.scheme == "http" and host not in LOOPBACK and host not in trusted:
        raise ValueError("expected a URL of https: plain HTTP is taken of 127.0.0.1 only")
