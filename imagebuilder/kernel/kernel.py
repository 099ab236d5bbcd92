"""A kernel that is there: what an image is made with."""

from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import Firmware, MachineType
from imagebuilder.kernel.definition import KernelDefinition, Product
from imagebuilder.tree import Tree


@dataclass(frozen=True)
class Kernel:
    """A kernel's image in the store, and the modules that init loads, in the order of ``module_paths``."""

    definition: KernelDefinition
    image: Path
    digest: str
    modules: Tree
    module_paths: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its definition."""
        return self.definition.name

    @property
    def product(self) -> Product:
        """The file that is handed to a machine when it is started. Raises KernelError for a kernel that has none."""
        return self.definition.product(Firmware.DIRECT)

    @property
    def machine(self) -> MachineType:
        """The machine that images with it expect."""
        return self.product.machine

    @property
    def acpi(self) -> bool:
        """Whether it needs ACPI to find its devices."""
        return self.definition.boot.acpi

    @property
    def cmdline(self) -> str:
        """The words of its command line, with every accelerator."""
        return self.definition.boot.cmdline

    @property
    def cmdline_tcg(self) -> str:
        """The words that are added when it runs emulated."""
        return self.definition.boot.cmdline_tcg

    @property
    def cmdline_kvm(self) -> str:
        """The words that are added when it runs under KVM."""
        return self.definition.boot.cmdline_kvm
