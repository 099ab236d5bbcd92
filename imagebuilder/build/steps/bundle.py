"""The image's description: ``image.json``, with the digests of kernel and root."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imagebuilder.build.steps.kernel import KernelResult
from imagebuilder.build.steps.pack import PackResult
from imagebuilder.build.steps.root import RootResult
from imagebuilder.build.steps.slim import SlimResult
from imagebuilder.bundle import SCHEMA, Image
from imagebuilder.kernel.definition import KernelBoot, Product
from imagebuilder.platforms.table import PLATFORMS
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store


@dataclass(frozen=True)
class BundleInputs:
    """``recipe`` is all of the recipe, as ``image.json`` has it, ``platform`` what runs the application; the rest
    is of the kernel's definition: its file that is started, how it is booted, and ``most_cpus`` that it can use (None:
    not known)."""

    recipe: Mapping[str, Any]
    platform: str
    kernel: str
    product: Product
    boot: KernelBoot
    most_cpus: int | None


@dataclass(frozen=True)
class BundleResult:
    """The description."""

    image: Image

    def save(self, _store: Store) -> dict[str, Any]:
        """As a step's result."""
        return self.image.model_dump(by_alias=True, mode="json")

    @classmethod
    def load(cls, document: Mapping[str, Any], _store: Store) -> Self:
        """As a step's result."""
        return cls(Image.model_validate(document))

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return [document[part]["sha256"] for part in ("kernel", "root")]


def run(
    inputs: BundleInputs, needs: tuple[SlimResult, KernelResult, RootResult, PackResult], context: Context
) -> BundleResult:
    """Describe it."""
    slimmed, kernel, root, packed = needs
    recipe, boot = inputs.recipe, inputs.boot
    image = Image.model_validate(
        {
            "schema": SCHEMA,
            **{key: recipe[key] for key in ("name", "version", "summary", "ready", "budget")},
            "kernel": {
                "name": inputs.kernel,
                "file": inputs.product.file_name,
                "bytes": kernel.size_bytes,
                "sha256": kernel.sha256,
                "most_cpus": inputs.most_cpus,
            },
            "root": packed.save(context.store),
            "cmdline": " ".join(filter(None, _cmdline(inputs, packed.format))),
            "boot": {
                **recipe["machine"],
                "machine": inputs.product.machine,
                "acpi": boot.acpi,
                "cmdline_tcg": boot.cmdline_tcg,
                "cmdline_kvm": boot.cmdline_kvm,
            },
            "recipe": recipe,
            "packages": [package.describe() for package in slimmed.packages],
            "contents": [group.describe() for group in (*root.groups, *slimmed.groups)],
            "alternatives": list(_alternatives(slimmed)),
            "unmade": slimmed.setup.unmade,
        }
    )
    return BundleResult(image.sealed())


def _cmdline(inputs: BundleInputs, root_format: str) -> Iterator[str]:
    recipe = inputs.recipe
    return PLATFORMS[inputs.platform].cmdline(
        inputs.boot.cmdline, root_format, has_ports=bool(recipe["machine"]["ports"]), own=recipe["kernel"]["cmdline"]
    )


def _alternatives(slimmed: SlimResult) -> Iterator[dict[str, str]]:
    """Which alternatives are in the image."""
    for offer in slimmed.setup.alternatives:
        if offer.link in slimmed.tree:
            yield {"link": offer.link, "target": offer.target, "package": offer.package}
