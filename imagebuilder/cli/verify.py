"""``imagebuilder verify``: whether an image is the one that was signed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagebuilder.cli import options
from imagebuilder.cli.names import RECIPE, FilePath

if TYPE_CHECKING:
    from imagebuilder.attestation.verifying import Claim

WORDS = ("provenance", "cyclonedx", "spdx", "test")
MEANING = {
    "provenance": "how it was made",
    "cyclonedx": "its bill of materials",
    "spdx": "its bill of materials",
    "test": "the result of its boot tests",
    "unknown": "signed by none of these keys",
}


@click.command("verify")
@click.argument("name", type=RECIPE, metavar="NAME")
@click.option("--key", "keys", type=FilePath(dir_okay=False), required=True, multiple=True, metavar="FILE",
              help="A public key or a certificate, in PEM; repeatable: what one of them signed counts.")  # fmt: skip
@click.option("--require", "required", type=click.Choice(WORDS), multiple=True, default=("provenance",),
              show_default=True, help="What must be there, and signed; repeatable.")  # fmt: skip
@click.option("--attestations", type=FilePath(dir_okay=False), metavar="FILE",
              help="The envelopes, where they do not stand beside the image.")  # fmt: skip
@options.out
@options.as_json
def command(
    name: str, keys: tuple[Path, ...], required: tuple[str, ...], attestations: Path | None, out: Path, as_json: bool
) -> None:
    """Check that the image NAME (a recipe's name, or the folder of an image) is the one that was signed: each file that
    a machine needs, and what stands beside it. Exit status 1 when it is not."""
    from imagebuilder.attestation.verifying import verify

    folder = options.standing(name, out).folder
    claims = verify(folder, keys, required=required, attestations=attestations)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "claims": [*map(_described, claims)]}, indent=1))
        return
    for claim in claims:
        result = f": {claim.result}" if claim.result else ""
        mark = "–" if claim.statement is None else "✓"
        click.echo(f"{mark} {claim.kind} ({MEANING.get(claim.kind, 'a statement about it')}){result}")
    click.echo(f"{folder} is the image that was signed")


def _described(claim: "Claim") -> dict[str, Any]:
    predicate = claim.statement.predicate_type if claim.statement else None
    return {"line": claim.line, "kind": claim.kind, "predicate": predicate, "result": claim.result}
