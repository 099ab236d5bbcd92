"""What a template and its clones have in common: one that was made in other circumstances is stale."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imagebuilder import process
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import PROGRAM, MachineSpec
from imagebuilder.recipe import model
from imagebuilder.store import key_of

SCHEMA = "imagebuilder.template/1"
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a clone has in common with its template. The labels are those of the sentence that says what differs."""

    image: str
    """The digest of the image."""
    machine: str
    """Machine, accelerator, memory, processors and scratch disks."""
    words: str
    """The hash of what else QEMU and the kernel are given: devices, CPU model, command line."""
    qemu: str
    """QEMU's version, in its own words."""
    cpu: str
    """The host's processor: the guest has measured its clock, and may have seen its features."""
    warm: str
    """What is asked before it is kept."""

    @property
    def key(self) -> str:
        """The name of the template."""
        return key_of([SCHEMA, asdict(self)])


SENTENCES: Mapping[str, str] = {
    "image": "the image has changed since",
    "machine": "it is another machine ({old}; now {new})",
    "words": "the command line of QEMU or of the kernel differs",
    "qemu": "it was made by {old}, and this is {new}",
    "cpu": "it was made on another processor ({old}; this is {new})",
    "warm": "the recipe's [template] has changed since",
}


def here(source: MachineSpec, *, image: str, recipe: model.Template) -> Circumstances:
    """What is so here and now, for a machine of the image of this digest. Raises ToolMissing, ToolFailed."""
    disks = " ".join(f"{disk.size_mib}M" for disk in source.scratch)
    shape = f"{source.machine} {source.accelerator} {source.memory_mib}M {source.cpus} CPU {disks}".strip()
    return Circumstances(
        image=image,
        machine=shape,
        words=key_of(_words(source))[:12],
        qemu=qemu_says(),
        cpu=_cpu(),
        warm=key_of(recipe.model_dump(mode="json", exclude_none=True))[:12],
    )


def differences(old: Circumstances, new: Circumstances) -> dict[str, str]:
    """What differs, each in words."""
    was, now = asdict(old), asdict(new)
    return {
        key: sentence.format(old=was[key], new=now[key]) for key, sentence in SENTENCES.items() if was[key] != now[key]
    }


def qemu_says() -> str:
    """QEMU's version, in its own words: of two packages of one version both. Raises ToolMissing, ToolFailed."""
    return process.run([PROGRAM, "--version"], timeout_s=60).text.splitlines()[0].strip()


def _words(spec: MachineSpec) -> list[str]:
    """QEMU's words but for what differs between machines that can be clones of each other: paths and ports."""
    bare = replace(
        spec,
        kernel=Path("kernel") if spec.kernel else None,
        initrd=Path("initrd") if spec.initrd else None,
        disks=tuple(replace(disk, path=Path("disk") if disk.path else None) for disk in spec.disks),
        forwards=(),
    )
    return argv(bare, Launch.kept(Path("memory")), wiring=None)


def _cpu() -> str:
    """The host's processor, as Linux names it."""
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
