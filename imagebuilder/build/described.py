"""What steps depend on as JSON, for their keys: all of it, contents by their hash."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from imagebuilder.tree import Blob


@runtime_checkable
class Describing(Protocol):
    """What says itself what it is."""

    def describe(self) -> Any:
        """All of it as JSON; equal values give equal documents."""


def described(value: object) -> Any:
    """A value as JSON; two that differ in anything differ here. Raises TypeError for what has no such description."""
    if isinstance(value, Describing):
        return value.describe()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Blob):
        return value.digest
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [described(each) for each in value]
    if is_dataclass(value):
        return {field.name: described(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be part of a step's key")
