"""What runs the application inside the machine: a row for each."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from imagebuilder.events import Say
from imagebuilder.platforms.linux import build, config, configuration, covered, layer, writes
from imagebuilder.platforms.users import User
from imagebuilder.platforms.values import MostAhead, Mount, Orders, Surroundings
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import Capability, RootFormat
from imagebuilder.store import Store
from imagebuilder.tree import Tree


class KernelRequirements(Protocol):
    """What a recipe asks of the kernel: symbol → who needs it; ``smp`` asks for more than one processor."""

    def __call__(self, recipe: Recipe, *, smp: bool = False) -> Mapping[str, str]: ...


class Cmdline(Protocol):
    """The image's part of the kernel's command line: the kernel's words, the platform's and the recipe's own."""

    def __call__(self, kernels: str, root_format: str, *, has_ports: bool, own: str) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Platform:
    """What runs the application."""

    kernel_requirements: KernelRequirements
    key: Callable[[], str]
    """What its own programs depend on. Fast, and without a compiler."""
    digest: Callable[[], str | None]
    """Of its own program as it is kept prebuilt; nothing where it is not."""
    defaults: Callable[[tuple[User, ...], Surroundings], Tree]
    """What lies under the application's files: folders and files that programs expect, and the users."""
    mount_points: Callable[[Sequence[Mount]], Tree]
    """The folders that are mounted on."""
    copied: Callable[[Tree, Sequence[Mount], Tree], tuple[str, ...]]
    """The mount points onto which is copied what a tree has there, but for the ``defaults``. Raises InputError for what
    would be hidden."""
    could_write: Callable[[Tree, User, Collection[Capability], Collection[str]], bool]
    """Whether the user may write to anything of a tree that is not below the places that are mounted."""
    program: str
    """The path of what starts the application, in the ``layer``."""
    layer: Callable[[Orders, Store, Say], Tree]
    """What lies over the application's files: what starts it, and its orders. May compile; raises ToolMissing."""
    cmdline: Cmdline
    filesystems: tuple[RootFormat, ...]
    """The roots that it can be started from."""
    root_disk: str
    """The name of the root's disk in the guest."""
    most_ahead: MostAhead
    """How much of the application's files it reads ahead."""
    reports: bool
    """Whether it reports to the host how far it is and how the application ended."""


PLATFORMS: Mapping[str, Platform] = {
    "linux": Platform(
        kernel_requirements=configuration.kernel_requirements,
        key=build.init_key,
        digest=build.init_digest,
        defaults=layer.defaults,
        mount_points=covered.mount_points,
        copied=covered.copied,
        could_write=writes.could_write,
        program=layer.PROGRAM,
        layer=layer.starting,
        cmdline=configuration.cmdline,
        filesystems=(RootFormat.INITRAMFS, RootFormat.MEMORY, RootFormat.EROFS, RootFormat.SQUASHFS),
        root_disk=configuration.ROOT_DISK,
        most_ahead=MostAhead(config.MOST_LINES, config.MOST_PARTS),
        reports=True,
    ),
}
USUAL = "linux"
"""What images have: a recipe names none."""
