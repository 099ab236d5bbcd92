"""Which kernel an image gets: the one that its recipe names, else the smallest prebuilt one that has what it needs.

So nothing that is shipped compiles a kernel: ``micro`` where one CPU, IPv4 and its file systems are enough, a variant
of it (``micro+smp``) where nothing else lacks, and where a recipe asks for more, ``standard``. What none of them has is
compiled over ``micro``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import Firmware
from imagebuilder.kernel import config, prebuilt
from imagebuilder.kernel.definition import KernelDefinition, load_definition, name_of

PREBUILT = ("micro", "standard", "cloud")  # the smallest first
NO_FIRMWARE: Mapping[Firmware, str] = {}


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of an image, whether it was asked for by name, and why it is this one: a clause that follows its name.
    ``variant`` are the further fragments with which it is kept prebuilt, where it was chosen for them."""

    definition: KernelDefinition
    named: bool
    why: str
    variant: tuple[Path, ...] = ()

    @property
    def sentence(self) -> str | None:
        """What to tell a user who named none and gets another than the usual one."""
        name = name_of(self.definition, self.variant)
        return None if self.named or name == PREBUILT[0] else f"kernel {name}: {self.why}"


def choose(
    name: str | None,
    extra_fragments: Sequence[Path],
    requirements: Mapping[str, str],
    *,
    by: str,
    firmware: Mapping[Firmware, str] = NO_FIRMWARE,
) -> Choice:
    """The kernel ``name``, or without one the first prebuilt one (or variant of one) that has the further fragments and
    the requirements, and that this firmware starts.

    ``requirements`` says for each symbol who needs it, ``firmware`` for each who is started by it; ``by`` is who named
    the kernel. Raises KernelError.
    """
    if name is not None:
        definition = load_definition(name)
        for each, who in firmware.items():
            definition.product(each, who)
        return Choice(definition, True, f"{by} names it")
    smallest = load_definition(PREBUILT[0])
    first = lacks = [*_not_started(smallest, firmware), *_missing(smallest, (), extra_fragments, requirements)]
    if not lacks:
        return Choice(smallest, False, "the smallest, and the recipe needs no more than it has")
    all_known = [smallest, *map(load_definition, PREBUILT[1:])]
    started = [each for each in all_known if not _not_started(each, firmware)]
    for definition in started:
        for variant in definition.variants:
            lacks = _missing(definition, variant, extra_fragments, requirements)
            if not lacks:
                return Choice(definition, False, f"{_counted(first)}, which {smallest.name} lacks", variant)
    return Choice(started[0], False, f"the smallest; {_counted(lacks)}, which no prebuilt kernel has")


def _not_started(definition: KernelDefinition, firmware: Mapping[Firmware, str]) -> list[str]:
    """What the firmware that does not start a kernel is for, a clause each."""
    known = {each for product in definition.products for each in product.firmware}
    return [f"{who} needs one that starts from {each.words}" for each, who in firmware.items() if each not in known]


def _counted(lacks: Sequence[str]) -> str:
    more = f" (and {len(lacks) - 1} more)" if len(lacks) > 1 else ""
    return lacks[0] + more


def _missing(
    definition: KernelDefinition,
    variant: Sequence[Path],
    extra_fragments: Sequence[Path],
    requirements: Mapping[str, str],
) -> list[str]:
    """What keeps a prebuilt kernel from being enough, a clause each."""
    text = prebuilt.configuration(definition, variant)
    asked = config.merge(extra_fragments)
    absent = config.missing(dict.fromkeys(requirements, "y"), text)
    other = config.missing({symbol: each.value for symbol, each in asked.items()}, text)
    return [
        *(f"{requirements[symbol]} needs CONFIG_{symbol}" for symbol in absent),
        *(f"the fragment {asked[each].fragment.stem} asks for CONFIG_{each}={asked[each].value}" for each in other),
    ]
