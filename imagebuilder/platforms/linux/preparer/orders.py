"""``/init.conf`` of the machine that prepares. ``src/orders.c`` reads it; docs/contracts.md has its keys."""

from collections.abc import Iterator
from dataclasses import dataclass

from imagebuilder.errors import InputError
from imagebuilder.words import counted

MOST_WORDS = 4096  # arguments, or variables: what the reader has room for
MOST_GROUPS = 64
MOST_FILES = 190_000  # files that can be changed; the reader of changes takes no more (sources/tarball.py)
# Of these no change counts: what a kernel has there, what is gone with the machine, and the orders themselves.
SKIPPED = ("/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp", "/init", "/init.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One command: ``args`` (the program is looked for in the PATH of ``env``), whom it runs as and where, how much it
    may write, and the ``network`` it has ("ADDRESS MASK GATEWAY", None: the loopback alone)."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    cwd: str = "/"
    hostname: str = "localhost"
    writable_mib: int
    network: str | None = None
    skipped: tuple[str, ...] = SKIPPED


def prepare_conf(orders: Orders) -> bytes:
    """The content of its ``/init.conf``. Raises InputError for more than it has room for."""
    for what, words, most in (
        ("argument", orders.args, MOST_WORDS),
        ("variable", orders.env, MOST_WORDS),
        ("group", orders.groups, MOST_GROUPS),
    ):
        if len(words) > most:
            raise InputError(f"prepare: {counted(len(words), what)} are too many, at most {most} fit")
    text = "".join(f"{key} {_escaped(value)}\n" for key, value in _lines(orders))
    return text.encode(errors="surrogateescape")


def _lines(orders: Orders) -> Iterator[tuple[str, str]]:
    yield "hostname", orders.hostname
    yield "layer", f"mode=0755,size={orders.writable_mib}m,nr_inodes={MOST_FILES}"
    yield from (("network", orders.network),) if orders.network else ()
    yield from (("skip", path) for path in orders.skipped)
    yield from (("group", str(group)) for group in orders.groups)
    yield "uid", str(orders.uid)
    yield "gid", str(orders.gid)
    yield "cwd", orders.cwd
    yield from (("env", words) for words in orders.env)
    yield from (("arg", word) for word in orders.args)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
