"""What the steps of a build tell the platform, whichever it is: values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagebuilder.platforms.users import User
from imagebuilder.recipe.model import Application, Helper, Root
from imagebuilder.recipe.values import Egress

MOST_PAGE = 2**16 - 1  # of a file, in a list of pages and in what is read ahead


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system to mount. ``options`` as in fstab; ``source=PATH`` names a disk, else the type stands for it."""

    type: str
    target: str
    options: str = "defaults"


@dataclass(frozen=True, slots=True)
class Ahead:
    """A file, and what is read ahead of it: first page of 4 KiB, count."""

    path: str
    parts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class MostAhead:
    """Of how many files there is something read ahead at most, and in how many parts."""

    files: int
    parts: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the OS layer depends on: the host's name, whether there is a network and a way out, whether the application
    came in packages of Debian, whether its root cannot be written, where something is mounted, and the lines of the
    accounts that packages make, by name."""

    hostname: str = "localhost"
    network: bool = True
    egress: Egress = Egress.NONE
    debian: bool = False
    read_only: bool = False
    mounted: tuple[str, ...] = ()
    passwd_lines: Mapping[str, str] = field(default_factory=dict)
    group_lines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What is done before, with and after the application; in its kernel ``low_ports`` are free for all users, and
    a ``listen_signal`` is sent."""

    application: Application
    user: User
    hostname: str
    network: bool
    mounts: tuple[Mount, ...] = ()
    modules: tuple[str, ...] = ()
    overlay: bool = False
    copies: tuple[str, ...] = ()
    ahead: tuple[Ahead, ...] = ()
    low_ports: bool = False
    listen_signal: bool = False
    helpers: tuple[tuple[Helper, User], ...] = ()
    """Each with whom it runs as."""


def mounts_of(root: Root) -> tuple[Mount, ...]:
    """The root's mounts, each ``TYPE TARGET [OPTIONS]``."""
    return tuple(Mount(*words.split(" ")) for words in root.mounts)
