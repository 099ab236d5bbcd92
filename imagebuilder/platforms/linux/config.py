"""``/init.conf``: the image's configuration of its init. docs/contracts.md has its keys, ``src/conf.c`` reads it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from imagebuilder.errors import InputError
from imagebuilder.platforms.values import MOST_PAGE, Ahead, Mount
from imagebuilder.words import counted, whole_number

# What the reader has room for; it refuses more, so the writer does.
MOST_WORDS = 256
MOST_LINES = 64
MOST_PARTS = 512
MOST_GROUPS = 32
MOST_HELPERS = 8
MOST_HELPER_WORDS = 64
MOST_CAPABILITY = 63
MOST_BYTES = 65_535
MOST_ID = 2**32 - 2
MOST_LIMIT = 2**64 - 1
MOST_GRACE_MS = 2**31 - 1
MOST_PORT = 2**16 - 1

LIMIT_NAMES = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue",
    "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
T = TypeVar("T")
OVERLAY = re.compile(r"yes|[0-9]+[kKmMgG%]?")


@dataclass(frozen=True, slots=True)
class Limit:
    """A resource limit: numbers in the units of setrlimit(2), or ``unlimited``."""

    name: str
    soft: str
    hard: str


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A value for a file under ``/proc/sys``, such as ``net/core/somaxconn``."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Await:
    """How init sees that a helper is ready: ``kind`` is ``port``, ``file`` or ``line``, ``text`` the port's number, the
    path, or what a line of its output holds. After ``limit_ms`` the machine ends."""

    kind: str
    text: str
    limit_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class HelperConfig:
    """A process that runs beside the application. ``args`` begins with the absolute path of its program."""

    name: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    uid: int = 0
    gid: int = 0
    restart: bool = False
    """Started again when it failed."""
    ready: Await | None = None
    """None: it counts as ready when its exec has succeeded."""


@dataclass(frozen=True, slots=True)
class InitConfig:
    """All that init does before, with and after the application. ``args`` begins with the command's absolute path."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    """Each ``NAME=VALUE``."""
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    cwd: str = "/"
    hostname: str = "localhost"
    modules: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    overlay: str | None = None
    """Lay a tmpfs over the read-only root: of at most this size (``8m``, ``50%``), or ``yes``."""
    limits: tuple[Limit, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    stop_signal: int = 15
    stop_grace_ms: int = 5000
    network: bool = True
    """Without it not even the loopback is brought up."""
    ahead: tuple[Ahead, ...] = ()
    """Files that are read from the disk while init goes on, as far as a third of the free memory holds them."""
    listen_signal: bool = False
    """The kernel sends init SIGIO when a socket begins to listen."""
    copies: tuple[str, ...] = ()
    """Mount points: what the image has there is copied onto the mount."""
    capabilities: tuple[int, ...] = ()
    """All that the application and its children can have: numbers of linux/capability.h."""
    helpers: tuple[HelperConfig, ...] = ()
    """Started before the application, each when the one before it is ready."""


def init_conf(config: InitConfig) -> bytes:
    """The content of ``/init.conf``. Raises InputError for what init could not do or would read as something else."""
    data = "".join(f"{key} {_escaped(key, value)}\n" for key, value in _lines(config))
    try:
        content = data.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"init: {data[error.start : error.end]!r} cannot be written as UTF-8") from error
    _require(
        len(content) <= MOST_BYTES, f"its configuration has {counted(len(content), 'byte')}, at most {MOST_BYTES} fit"
    )
    return content


def _lines(config: InitConfig) -> Iterator[tuple[str, str]]:
    """Key and unescaped value, what is the default left out."""
    yield from (("module", path) for path in _most("modules", config.modules, MOST_LINES))
    yield from _overlay(config)
    yield from _ahead(config)
    yield from (("mount", _mount(mount)) for mount in _most("mounts", config.mounts, MOST_LINES))
    yield from (("copy", _target(path)) for path in _most("mount points to copy to", config.copies, MOST_LINES))
    yield from (("sysctl", _sysctl(sysctl)) for sysctl in _most("sysctls", config.sysctls, MOST_LINES))
    yield from _hostname(config)
    yield from () if config.network else (("network", "none"),)
    yield from (("listen", "signal"),) if config.listen_signal else ()
    yield from _identity(config)
    yield from (("limit", _limit(limit)) for limit in _most("limits", config.limits, len(LIMIT_NAMES)))
    yield from (("env", _variable(words)) for words in _most("variables", config.env, MOST_WORDS))
    yield from _arguments(config)
    yield from _stop(config)
    yield from (line for each in _most("helpers", config.helpers, MOST_HELPERS) for line in _helper(each))


def _ahead(config: InitConfig) -> Iterator[tuple[str, str]]:
    _most("parts to read ahead", tuple(part for each in config.ahead for part in each.parts), MOST_PARTS)
    for each in _most("files to read ahead", config.ahead, MOST_LINES):
        yield "ahead", each.path
        for first, pages in each.parts:
            _require(0 <= first <= MOST_PAGE and 0 < pages <= MOST_PAGE, f"[{first}, {pages}] is no range of pages")
            yield "part", f"{first} {pages}"


def _overlay(config: InitConfig) -> Iterator[tuple[str, str]]:
    if config.overlay is not None:
        _require(OVERLAY.fullmatch(config.overlay), f"{config.overlay!r} is neither a size like 8m nor 'yes'")
        yield "overlay", config.overlay


def _hostname(config: InitConfig) -> Iterator[tuple[str, str]]:
    if config.hostname != "localhost":
        _require(0 < len(config.hostname.encode(errors="replace")) <= 64, "a host name has 1 to 64 bytes")
        yield "hostname", config.hostname


def _identity(config: InitConfig) -> Iterator[tuple[str, str]]:
    for key, number in (("uid", config.uid), ("gid", config.gid)):
        if number:
            yield key, _number(key, number)
    if config.groups:
        yield "groups", ",".join(_number("group", group) for group in _most("groups", config.groups, MOST_GROUPS))
    if config.capabilities:
        yield "capabilities", ",".join(map(_capability, config.capabilities))
    if config.cwd != "/":
        _require(config.cwd.startswith("/"), f"the working directory {config.cwd!r} is no absolute path")
        yield "cwd", config.cwd


def _arguments(config: InitConfig) -> Iterator[tuple[str, str]]:
    _require(config.args, "there is no command to start")
    _require(config.args[0].startswith("/"), f"the command {config.args[0]!r} is no absolute path")
    yield from (("arg", word) for word in _most("arguments", config.args, MOST_WORDS))


def _stop(config: InitConfig) -> Iterator[tuple[str, str]]:
    _require(1 <= config.stop_signal <= 64, f"{config.stop_signal} is no signal (1 to 64)")
    _require(0 <= config.stop_grace_ms <= MOST_GRACE_MS, f"{config.stop_grace_ms} ms is no time of grace")
    if (config.stop_signal, config.stop_grace_ms) != (15, 5000):
        yield "stop", f"{config.stop_signal} {config.stop_grace_ms}"


def _helper(helper: HelperConfig) -> Iterator[tuple[str, str]]:
    """The lines of one; the first begins it."""
    _require(helper.name, "a helper has a name")
    yield "helper", helper.name
    if (helper.uid, helper.gid) != (0, 0):
        yield "helper-user", f"{_number('uid', helper.uid)} {_number('gid', helper.gid)}"
    if helper.restart:
        yield "helper-restart", "on-failure"
    if helper.ready is not None:
        yield "helper-ready", _await(helper.ready)
    for words in _most(f"variables of {helper.name}", helper.env, MOST_HELPER_WORDS):
        yield "helper-env", _variable(words)
    _require(helper.args and helper.args[0].startswith("/"), f"{helper.name} has no absolute path of a command")
    for word in _most(f"arguments of {helper.name}", helper.args, MOST_HELPER_WORDS):
        yield "helper-arg", word


def _await(ready: Await) -> str:
    is_port = whole_number(ready.text, MOST_PORT) not in (None, 0)
    _require(ready.kind in ("port", "file", "line"), f"{ready.kind!r} is none of port, file and line")
    _require(ready.text and (ready.kind != "port" or is_port), f"{ready.text!r} is no {ready.kind} to wait for")
    _require(0 <= ready.limit_ms <= MOST_GRACE_MS, f"{ready.limit_ms} ms is no time to wait for")
    return f"{ready.kind} {ready.text} {ready.limit_ms}"


def _mount(mount: Mount) -> str:
    return " ".join(_word(part) for part in (mount.type, _target(mount.target), mount.options))


def _target(path: str) -> str:
    _require(path.startswith("/"), f"{path!r} is no absolute path to mount on")
    return path


def _sysctl(sysctl: Sysctl) -> str:
    return f"{_word(sysctl.path)} {sysctl.value}"


def _limit(limit: Limit) -> str:
    _require(limit.name in LIMIT_NAMES, f"{limit.name!r} is no limit (one of {' '.join(LIMIT_NAMES)})")
    return " ".join((limit.name, _bound(limit.name, limit.soft), _bound(limit.name, limit.hard)))


def _bound(name: str, value: str) -> str:
    is_number = whole_number(value, MOST_LIMIT - 1) is not None
    _require(is_number or value == "unlimited", f"{value!r} is no value for the limit {name}: a number or 'unlimited'")
    return value


def _variable(words: str) -> str:
    _require(words.find("=") > 0, f"the variable {words!r} is not NAME=VALUE")
    return words


def _number(key: str, value: int) -> str:
    _require(0 <= value <= MOST_ID, f"{value} is no {key} (0 to {MOST_ID})")
    return str(value)


def _capability(value: int) -> str:
    _require(0 <= value <= MOST_CAPABILITY, f"{value} is no capability (0 to {MOST_CAPABILITY})")
    return str(value)


def _word(value: str) -> str:
    _require(value and " " not in value, f"{value!r} must be one word without spaces")
    return value


def _most(what: str, values: tuple[T, ...], most: int) -> tuple[T, ...]:
    _require(len(values) <= most, f"{len(values)} {what} are too many, at most {most} fit")
    return values


def _escaped(key: str, value: str) -> str:
    _require("\0" not in value, f"{key} {value!r} holds a NUL byte")
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _require(holds: object, message: str) -> None:
    if not holds:
        raise InputError(f"init: {message}")
