"""The recipe's JSON Schema, for completion and checks in editors."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from imagebuilder.recipe.docstrings import docstrings
from imagebuilder.recipe.model import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:imagebuilder:recipe"


class _WithoutNull(GenerateJsonSchema):
    """TOML has no null: what may be absent is just not required."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """The value that is there when it is not absent."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """No default that only means absent."""
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Where names follow a pattern, no other names."""
        found = super().dict_schema(schema)
        return {**found, "additionalProperties": False} if "patternProperties" in found else found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """A table, with what its source says of each key."""
        found = super().model_schema(schema)
        for name, text in docstrings(schema["cls"]).items():
            if name in found.get("properties", {}):
                found["properties"][name].setdefault("description", text)
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Keys speak for themselves: a title made of the key says nothing more."""
        return False


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``recipe.toml``."""
    schema = Recipe.model_json_schema(schema_generator=_WithoutNull)
    return {"$schema": DIALECT, "$id": ID, **schema, "title": "imagebuilder recipe"}
