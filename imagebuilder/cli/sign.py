"""``imagebuilder sign``: all that is claimed of an image, in envelopes with a signature."""

import os
import sys
from pathlib import Path

import click

from imagebuilder.cli import options
from imagebuilder.cli.names import RECIPE, FilePath
from imagebuilder.errors import InputError

PASSPHRASE = "IMAGEBUILDER_KEY_PASSPHRASE"


@click.command("sign")
@click.argument("name", type=RECIPE, metavar="NAME")
@click.option("--key", type=FilePath(dir_okay=False), required=True, metavar="FILE", help="The private key, in PEM.")
@click.option("--attestation", "attestations", type=FilePath(dir_okay=False), multiple=True, metavar="FILE",
              help="Sign this in-toto statement too, as test --attest writes one; repeatable.")  # fmt: skip
@options.out
def command(name: str, key: Path, attestations: tuple[Path, ...], out: Path) -> None:
    """Sign the provenance and the bills of materials of the image NAME, which is built already: a recipe's name, or the
    folder of an image. They are written to NAME.intoto.jsonl beside it.

    The passphrase of an encrypted key is asked for, or taken from $IMAGEBUILDER_KEY_PASSPHRASE.
    """
    from imagebuilder.attestation.signing import file_of, sign

    bundle = options.standing(name, out)
    target = file_of(bundle)
    options.write(sign(bundle, key, passphrase=_passphrase, attestations=attestations), target)
    click.echo(f"{target}: signed with {key}")


def _passphrase(path: Path) -> str:
    if (known := os.environ.get(PASSPHRASE)) is not None:
        return known
    if not sys.stdin.isatty():
        raise InputError(f"{path} is encrypted", hint=f"put its passphrase into ${PASSPHRASE}")
    return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True))
