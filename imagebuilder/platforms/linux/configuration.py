"""What a recipe's words come to in the guest: init's orders, and the kernel's command line. Pure."""

from collections.abc import Iterator, Mapping

from imagebuilder.platforms.linux.config import Await, HelperConfig, InitConfig, Limit, Sysctl
from imagebuilder.platforms.users import User
from imagebuilder.platforms.values import Orders
from imagebuilder.recipe.model import Helper, Recipe
from imagebuilder.recipe.values import MountType, Restart

MANY_PROCESSORS = "SMP"
ROOT_DISK = "/dev/vda"  # the first of the machine's virtio disks


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


def kernel_requirements(recipe: Recipe, *, smp: bool = False) -> dict[str, str]:
    """What the recipe asks of the kernel that not every kernel has: symbol → who needs it. ``smp`` asks for more than
    one processor, whatever the recipe says."""
    mounted = [MountType(words.split(" ")[0]) for words in recipe.root.mounts]
    requirements = {MANY_PROCESSORS: "more than one processor"} if smp else {}
    requirements |= {MOUNTS[kind]: f'root.mounts: "{kind}"' for kind in mounted}
    if recipe.machine.cpus > 1:
        requirements[MANY_PROCESSORS] = f"machine.cpus = {recipe.machine.cpus}"
    if recipe.root.format == "squashfs":
        requirements["SQUASHFS"] = 'root.format = "squashfs"'
    if recipe.root.format == "memory":
        requirements["EROFS_FS_MEMORY"] = 'root.format = "memory"'
    return requirements


def _root_words(root_format: str) -> str:
    if root_format == "initramfs":
        return ""
    place = "memory ro" if root_format == "memory" else f"{ROOT_DISK} ro rootfstype={root_format}"
    return f"root={place} init=/init"


def cmdline(kernels: str, root_format: str, *, has_ports: bool, own: str) -> Iterator[str]:
    """The image's part of the kernel's command line: the kernel's words, ours and the recipe's ``own``; a machine adds
    its own words behind, and the last one counts."""
    yield kernels
    yield _root_words(root_format)
    if has_ports:
        yield "ib.ip=dhcp"  # wherever no machine says a better one
    yield own


def init_config(orders: Orders) -> InitConfig:
    """The orders as init reads them."""
    application, user = orders.application, orders.user
    return InitConfig(
        args=(application.command, *application.arguments),
        env=_variables(application.environment),
        uid=user.uid,
        gid=user.gid,
        capabilities=tuple(sorted(each.number for each in application.capabilities)),
        cwd=application.directory,
        hostname=orders.hostname,
        network=orders.network,
        listen_signal=orders.listen_signal and orders.network,
        ahead=orders.ahead,
        modules=orders.modules,
        mounts=orders.mounts,
        copies=orders.copies,
        overlay="yes" if orders.overlay else None,
        limits=tuple(_limit(name, value) for name, value in sorted(application.limits.items())),
        # One application on its own machine: low ports need no protection from other users, and root has no rights.
        sysctls=(Sysctl("net/ipv4/ip_unprivileged_port_start", "0"),) if not orders.low_ports else (),
        stop_signal=application.stop_signal.number,
        stop_grace_ms=application.stop_grace_ms,
        helpers=tuple(_helper(helper, user) for helper, user in orders.helpers),
    )


def _helper(helper: Helper, user: User) -> HelperConfig:
    ready = helper.ready
    return HelperConfig(
        name=helper.name,
        args=helper.command,
        env=_variables(helper.environment),
        uid=user.uid,
        gid=user.gid,
        restart=helper.restart is Restart.ON_FAILURE,
        ready=Await(ready.kind.value, str(getattr(ready, ready.kind)), ready.timeout_s * 1000) if ready else None,
    )


def _variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in sorted(environment.items()))


def _limit(name: str, value: int | str) -> Limit:
    """A limit from the recipe's number or ``soft:hard``."""
    soft, _, hard = str(value).partition(":")
    return Limit(name, soft, hard or soft)
