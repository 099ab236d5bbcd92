"""``imagebuilder schema``: JSON Schemas, for completion in editors and for checking reports."""

import json

import click


@click.command("schema")
@click.argument("document", type=click.Choice(["recipe", "report"]), default="recipe")
def command(document: str) -> None:
    """Print the JSON Schema of a recipe (default) or of a report."""
    click.echo(json.dumps(_recipe() if document == "recipe" else _report(), indent=2))


def _recipe() -> object:
    from imagebuilder.recipe.schema import json_schema

    return json_schema()


def _report() -> object:
    from imagebuilder.measure.report import json_schema

    return json_schema()
