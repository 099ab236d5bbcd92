"""What runs the application inside the machine: a row for each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from imagebuilder.events import Say
from imagebuilder.platforms.linux import build, config, configuration, layer
from imagebuilder.platforms.linux.configuration import Orders
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import RootFormat
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
    layer: Callable[[Orders, Store, Say], Tree]
    """What lies over the application's files: what starts it, and its orders. May compile; raises ToolMissing."""
    cmdline: Cmdline
    filesystems: tuple[RootFormat, ...]
    """The roots that it can be started from."""
    most_ahead: int
    """Of how many of the application's files it reads ahead."""
    reports: bool
    """Whether it tells the host how far it is and how the application ended."""


PLATFORMS: Mapping[str, Platform] = {
    "linux": Platform(
        kernel_requirements=configuration.kernel_requirements,
        key=build.init_key,
        digest=build.init_digest,
        layer=layer.starting,
        cmdline=configuration.cmdline,
        filesystems=(RootFormat.INITRAMFS, RootFormat.MEMORY, RootFormat.EROFS, RootFormat.SQUASHFS),
        most_ahead=config.MOST_LINES,
        reports=True,
    ),
}
LINUX = "linux"
"""What images have."""
