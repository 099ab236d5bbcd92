"""The layers that steps returned, and the users that these define."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from imagebuilder.platforms.users import Ids, resolve
from imagebuilder.sources.debian import known_users
from imagebuilder.sources.layer import Layer


class Layered(Protocol):
    """What a step gives that brings files."""

    @property
    def layer(self) -> Layer:
        """The files."""


def users_of(needs: Sequence[Layered]) -> dict[str, Ids]:
    """The users that the layers know, by name; the later counts."""
    return {name: ids for need in needs for name, ids in known_users(need.layer).items()}


def owned_layers(needs: Sequence[Layered], known: Mapping[str, Ids]) -> list[Layer]:
    """The layers, each with the owner that the recipe names. Raises InputError for one that is not defined."""
    return [_owned(need.layer, known) for need in needs]


def _owned(layer: Layer, known: Mapping[str, Ids]) -> Layer:
    if layer.owner == "root":
        return layer
    user = resolve(layer.owner, known, key="source.owner")
    return layer.owned((user.uid, user.gid))
