"""What a recipe's words come to in the guest: init's orders, the kernel's command line, added files. Pure, but that the
files beside the recipe are read."""

from collections.abc import Iterator, Mapping

from imagebuilder.guest.config import Ahead, InitConfig, Limit, Mount, Sysctl
from imagebuilder.guest.users import User
from imagebuilder.kernel import Kernel
from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.render import rendered
from imagebuilder.recipe.values import FileKind, MountType
from imagebuilder.tree import Node, directory, file, symlink

MANY_PROCESSORS = "SMP"


# What the kernel must have for a type of file system to be mounted.
MOUNTS: Mapping[MountType, str] = {
    MountType.TMPFS: "TMPFS",
    MountType.PROC: "PROC_FS",
    MountType.SYSFS: "SYSFS",
    MountType.DEVTMPFS: "DEVTMPFS",
    MountType.DEVPTS: "UNIX98_PTYS",
    MountType.MQUEUE: "POSIX_MQUEUE",
    MountType.HUGETLBFS: "HUGETLBFS",
    MountType.CGROUP2: "CGROUPS",
    MountType.BPF: "BPF_SYSCALL",
    MountType.DEBUGFS: "DEBUG_FS",
    MountType.TRACEFS: "TRACING",
    MountType.EXT4: "EXT4_FS",
    MountType.XFS: "XFS_FS",
    MountType.BTRFS: "BTRFS_FS",
    MountType.VFAT: "VFAT_FS",
    MountType.EROFS: "EROFS_FS",
    MountType.SQUASHFS: "SQUASHFS",
    MountType.OVERLAY: "OVERLAY_FS",
    MountType.VIRTIOFS: "VIRTIO_FS",
    MountType.NINE_P: "9P_FS",
}


def kernel_wishes(recipe: Recipe) -> dict[str, str]:
    """What the recipe asks of the kernel that not every kernel has: symbol → who needs it."""
    mounted = [MountType(words.split(" ")[0]) for words in recipe.root.mounts]
    wishes = {MOUNTS[kind]: f'root.mounts: "{kind}"' for kind in mounted}
    if recipe.machine.cpus > 1:
        wishes[MANY_PROCESSORS] = f"machine.cpus = {recipe.machine.cpus}"
    if recipe.root.format == "squashfs":
        wishes["SQUASHFS"] = 'root.format = "squashfs"'
    if recipe.root.format == "memory":
        wishes["EROFS_FS_MEMORY"] = 'root.format = "memory"'
    return wishes


def _root_words(root_format: str) -> str:
    if root_format == "initramfs":
        return ""
    place = "memory ro" if root_format == "memory" else f"/dev/vda ro rootfstype={root_format}"
    return f"root={place} init=/init"


def cmdline(recipe: Recipe, kernel: Kernel, root_format: str) -> Iterator[str]:
    """The image's part of the kernel's command line; a machine adds its own words behind, and the last one counts."""
    yield kernel.cmdline
    yield _root_words(root_format)
    if recipe.machine.ports:
        yield "ib.ip=dhcp"  # wherever no machine says a better one
    yield recipe.kernel.cmdline


def init_config(
    recipe: Recipe,
    user: User,
    *,
    modules: tuple[str, ...],
    overlay: bool,
    copies: tuple[str, ...],
    ahead: tuple[Ahead, ...],
    low_ports: bool,
    listen_signal: bool,
) -> InitConfig:
    """What init does before, with and after the application; in its kernel ``low_ports`` are free for all users, and
    a ``listen_signal`` is sent."""
    application = recipe.application
    return InitConfig(
        args=(application.command, *application.arguments),
        env=tuple(f"{name}={value}" for name, value in sorted(application.environment.items())),
        uid=user.uid,
        gid=user.gid,
        cwd=application.directory,
        hostname=recipe.name,
        network=recipe.machine.network,
        listen_signal=listen_signal and recipe.machine.network,
        ahead=ahead,
        modules=modules,
        mounts=mounts(recipe),
        copies=copies,
        overlay="yes" if overlay else None,
        limits=tuple(_limit(name, value) for name, value in sorted(application.limits.items())),
        # One application on its own machine: there is nobody to protect the low ports from.
        sysctls=(Sysctl("net/ipv4/ip_unprivileged_port_start", "0"),) if user.uid and not low_ports else (),
        stop_signal=application.stop_signal.number,
        stop_grace_ms=application.stop_grace_ms,
    )


def mounts(recipe: Recipe) -> tuple[Mount, ...]:
    """The recipe's mounts, each ``TYPE TARGET [OPTIONS]``."""
    return tuple(Mount(*words.split(" ")) for words in recipe.root.mounts)


def _limit(name: str, value: int | str) -> Limit:
    """A limit from the recipe's number or ``soft:hard``."""
    soft, _, hard = str(value).partition(":")
    return Limit(name, soft, hard or soft)


def added(entry: FileEntry, recipe: Recipe) -> Node:
    """The node that a recipe's [[files]] entry stands for."""
    if entry.kind is FileKind.SYMLINK:
        return symlink(entry.symlink or "")
    mode = int(entry.mode, 8)
    return directory(mode=mode) if entry.kind is FileKind.DIRECTORY else file(rendered(entry, recipe), mode=mode)
