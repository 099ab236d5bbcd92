"""Fragments of kernel configuration: read, merged, and checked to have survived.

The base is ``allnoconfig``: what no fragment names is off, unless something that is on needs it. Kconfig drops a symbol
whose dependencies are not met without a word; ``lost`` finds those.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import KernelError

SET = re.compile(r"CONFIG_(?P<symbol>\w+)=(?P<value>y|n|-?\d+|0x[0-9a-fA-F]+|\"[^\"]*\")")
UNSET = re.compile(r"# CONFIG_(?P<symbol>\w+) is not set")
LOOKS_SET = re.compile(r"#?\s*CONFIG_")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a fragment asks of one symbol."""

    value: str
    fragment: Path


def parse(fragment: Path) -> dict[str, str]:
    """The symbols of one fragment and their values; ``n`` for off. Raises KernelError that names the line."""
    try:
        lines = fragment.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise KernelError(f"the kernel fragment {fragment} cannot be read: {error}") from error
    return dict(pair for number, line in enumerate(lines, 1) for pair in _pair(fragment, number, line.strip()))


def merge(fragments: Sequence[Path]) -> dict[str, Wish]:
    """All that the fragments ask for, by symbol; a later fragment overrules an earlier one."""
    return {symbol: Wish(value, path) for path in fragments for symbol, value in parse(path).items()}


def text(wishes: Mapping[str, Wish]) -> str:
    """The wishes as Kconfig reads them."""
    return "".join(f"CONFIG_{symbol}={wish.value}\n" for symbol, wish in sorted(wishes.items()))


def lost(wishes: Mapping[str, Wish], config: str) -> tuple[str, ...]:
    """A sentence for each wish that the finished configuration does not fulfil."""
    got = dict(pair for line in config.splitlines() for pair in _known(line))
    return tuple(
        f"{wish.fragment.name} asks for CONFIG_{symbol}={wish.value}, the configuration has {got.get(symbol, 'n')}"
        for symbol, wish in sorted(wishes.items())
        if got.get(symbol, "n") != wish.value
    )


def check(wishes: Mapping[str, Wish], config: str) -> None:
    """Raise KernelError when a wish was not fulfilled."""
    if sentences := lost(wishes, config):
        hint = "a symbol that depends on another needs that one too, and one that another selects cannot be off"
        raise KernelError("the kernel cannot be configured as asked: " + "; ".join(sentences), hint=hint)


def _pair(fragment: Path, number: int, line: str) -> list[tuple[str, str]]:
    pairs = _known(line)
    if not pairs and (LOOKS_SET.match(line) if line.startswith("#") else line):
        hint = "such as CONFIG_IPV6=y; there are no modules"
        raise KernelError(f"{fragment}:{number}: expected CONFIG_NAME=VALUE, found {line!r}", hint=hint)
    return pairs


def _known(line: str) -> list[tuple[str, str]]:
    if match := SET.fullmatch(line):
        return [(match["symbol"], match["value"])]
    if match := UNSET.fullmatch(line):
        return [(match["symbol"], "n")]
    return []
