"""Fragments of kernel configuration: read, merged, and checked to have survived.

The base is ``allnoconfig``: what no fragment names is off, unless something that is on needs it. Kconfig drops a symbol
whose dependencies are not met without a word; ``lost`` finds those.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from imagebuilder import documents
from imagebuilder.errors import KernelError

MOST_BYTES = 1 << 20
SET = re.compile(r"CONFIG_(?P<symbol>\w+)=(?P<value>y|n|-?\d+|0x[0-9a-fA-F]+|\"[^\"]*\")")
UNSET = re.compile(r"# CONFIG_(?P<symbol>\w+) is not set")
LOOKS_SET = re.compile(r"#?\s*CONFIG_")


@dataclass(frozen=True, slots=True)
class RequestedValue:
    """What a fragment asks of one symbol."""

    value: str
    fragment: Path


def parse(fragment: Path) -> Mapping[str, str]:
    """The symbols of one fragment and their values; ``n`` for off. Raises KernelError that names the line."""
    try:
        data = documents.read(fragment, MOST_BYTES)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise KernelError(f"the kernel fragment {fragment} cannot be read: {error}") from error
    if len(data) > MOST_BYTES:
        raise KernelError(f"the kernel fragment {fragment} is longer than {MOST_BYTES >> 20} MiB")
    return _parsed(fragment, text)


def merge(fragments: Sequence[Path]) -> dict[str, RequestedValue]:
    """All that the fragments ask for, by symbol; a later fragment overrules an earlier one."""
    return {symbol: RequestedValue(value, path) for path in fragments for symbol, value in parse(path).items()}


def text(requested: Mapping[str, RequestedValue]) -> str:
    """The requested values as Kconfig reads them."""
    return "".join(f"CONFIG_{symbol}={each.value}\n" for symbol, each in sorted(requested.items()))


def missing(values: Mapping[str, str], config: str) -> tuple[str, ...]:
    """The symbols, given with the values that they should have, that have another in a finished configuration."""
    got = _found(config)
    return tuple(symbol for symbol, value in sorted(values.items()) if got.get(symbol, "n") != value)


def lost(requested: Mapping[str, RequestedValue], config: str) -> tuple[str, ...]:
    """A sentence for each requested value that the finished configuration lacks."""
    got = _found(config)
    return tuple(
        f"{requested[symbol].fragment.name} asks for CONFIG_{symbol}={requested[symbol].value}, "
        f"the configuration has {got.get(symbol, 'n')}"
        for symbol in missing({symbol: each.value for symbol, each in requested.items()}, config)
    )


def check(requested: Mapping[str, RequestedValue], config: str) -> None:
    """Raise KernelError when a requested value did not survive."""
    if sentences := lost(requested, config):
        hint = "a symbol that depends on another needs that one too, and one that another selects cannot be off"
        raise KernelError("the kernel cannot be configured as asked: " + "; ".join(sentences), hint=hint)


def values(config: str) -> Mapping[str, str]:
    """The symbols of a finished configuration by name; ``n`` for off."""
    return _found(config)


@lru_cache(maxsize=64)
def _parsed(fragment: Path, text: str) -> Mapping[str, str]:
    """A build asks for the same fragments many times."""
    lines = enumerate(text.splitlines(), 1)
    return dict(pair for number, line in lines for pair in _pair(fragment, number, line.strip()))


@lru_cache(maxsize=8)
def _found(config: str) -> Mapping[str, str]:
    """The symbols of a finished configuration, of which a build asks many times, too."""
    return dict(pair for line in config.splitlines() for pair in _known(line))


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
