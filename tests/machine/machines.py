"""What the tests of the machine share: images whose application does what a test asks of it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import MachineType
from imagebuilder.filesystems import cpio
from imagebuilder.machine.spec import Accelerator, MachineSpec
from imagebuilder.platforms.linux import InitConfig, init_conf
from imagebuilder.recipe.values import Capability
from imagebuilder.tree import Blob, Node, Tree, directory, file

EPOCH_S = 0
CMDLINE = "console=ttyS0 quiet panic=-1 reboot=t"


@dataclass(frozen=True, slots=True)
class Makings:
    """What every image is made from, and where its files go."""

    kernel: Path
    init: Blob
    application: Blob
    folder: Path
    cmdline: str


def machine(makings: Makings, *words: str, files: dict[str, Node] | None = None, **fields: object) -> MachineSpec:
    """A machine whose application does the words; keywords are fields of the specification."""
    allowed = (Capability.SYS_BOOT.number, Capability.NET_BIND_SERVICE.number)
    config = InitConfig(args=("/application", *words), capabilities=allowed)
    tree = Tree(
        {
            "/proc": directory(mode=0o555),
            "/dev": directory(),
            "/init": file(makings.init, mode=0o755),
            "/application": file(makings.application, mode=0o755),
            "/init.conf": file(init_conf(config)),
            **(files or {}),
        }
    )
    return booting(makings, tree, **fields)


def booting(makings: Makings, tree: Tree, **fields: object) -> MachineSpec:
    """A machine with this tree as its initramfs."""
    stream = io.BytesIO()
    cpio.write(tree, stream, epoch_s=EPOCH_S)
    root = makings.folder / f"{tree.digest[:16]}.cpio"
    root.write_bytes(stream.getvalue())
    given = {"kernel": makings.kernel, "initrd": root, "cmdline": makings.cmdline, "memory_mib": 32, **fields}
    return MachineSpec(**{"machine": MachineType.MICROVM, "accelerator": Accelerator.TCG, **given})  # type: ignore[arg-type]


Make = Callable[..., MachineSpec]
