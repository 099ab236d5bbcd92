"""What all parts of a recipe share: frozen, nothing unknown, and every mistake reported at once."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from imagebuilder.recipe.docstrings import docstrings
from imagebuilder.recipe.suggestions import suggest

MISTAKE = "mistake"
LONGEST = 60  # characters of a found text that are shown
NAMES: Mapping[type | tuple[type, ...], str] = {
    Mapping: "a table",
    (list, tuple): "a list",
    (datetime, date, time): "a date or time",
}


def mistake(message: str, hint: str | None = None) -> PydanticCustomError:
    """A mistake in our own words; raised by a validator it is reported where the value stands."""
    return PydanticCustomError(MISTAKE, "{message}", {"message": message, "hint": hint})


def mistake_at(place: tuple[int | str, ...], message: str, hint: str | None = None) -> InitErrorDetails:
    """A mistake between several keys, with the place (relative to the part) that is shown for it."""
    return InitErrorDetails(type=mistake(message, hint), loc=place, input=None)


def found(value: Any) -> str:
    """A value of a TOML file in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value if len(value) <= LONGEST else value[:LONGEST] + '…'}'"
    if isinstance(value, int | float):
        return f"the number {value:.15g}"  # never the thousands of digits that TOML allows
    return next((name for kind, name in NAMES.items() if isinstance(value, kind)), "something else")


class RecipeTable(BaseModel):
    """A table of the recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """Mistakes that lie between keys. ``raw`` is the table as it was written: nothing in it has been checked."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Check the keys and what lies between them, the one although the other failed."""
        found = list(cls.between(raw)) if isinstance(raw, Mapping) else []
        try:
            value = handler(raw)
        except ValidationError as error:
            found = [*map(cls._restated, error.errors(include_url=False)), *found]
        else:
            if not found:
                return value
        raise ValidationError.from_exception_data(cls.__name__, found)

    @classmethod
    def _restated(cls, error: ErrorDetails) -> InitErrorDetails:
        """The same error, ready to be raised again; where this part's keys matter, in our own words."""
        kind, place, context = error["type"], error["loc"], error.get("ctx", {})
        if kind == MISTAKE:
            return mistake_at(place, context["message"], context["hint"])
        if kind == "extra_forbidden" and len(place) == 1:
            return mistake_at(place, "this key is not known", suggest(str(place[0]), cls.model_fields))
        if kind == "missing" and len(place) == 1:
            return mistake_at(place, "this key is missing", docstrings(cls).get(str(place[0])))
        return InitErrorDetails(type=kind, loc=place, input=error["input"], ctx=context)
