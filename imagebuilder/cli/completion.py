"""``imagebuilder completion``: what a shell needs to complete verbs, options and recipe names."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: eval "$(imagebuilder completion bash)" in ~/.bashrc
    zsh:  eval "$(imagebuilder completion zsh)" in ~/.zshrc, below compinit
    fish: imagebuilder completion fish | source, in ~/.config/fish/config.fish
    """
    from imagebuilder.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None  # the three of the choice are click's own
    click.echo(made(cli, {}, "imagebuilder", "_IMAGEBUILDER_COMPLETE").source())
