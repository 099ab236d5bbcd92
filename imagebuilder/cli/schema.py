"""``imagebuilder schema``: JSON Schemas, for completion in editors and for checking what was printed."""

import importlib
import json
from collections.abc import Mapping

import click

# Documents, and the module whose ``json_schema()`` is theirs.
DOCUMENTS: Mapping[str, str] = {
    "recipe": "imagebuilder.recipe.schema",
    "report": "imagebuilder.measure.report",
    "build": "imagebuilder.build.outputs",
}


@click.command("schema")
@click.argument("document", type=click.Choice([*DOCUMENTS]), default="recipe")
def command(document: str) -> None:
    """Print the JSON Schema of a recipe (default), of a report, or of what build --json prints."""
    click.echo(json.dumps(importlib.import_module(DOCUMENTS[document]).json_schema(), indent=2))
