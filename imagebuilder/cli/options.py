"""Options that several verbs share, and what they open."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from imagebuilder.events import Say
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store

if TYPE_CHECKING:
    from imagebuilder.bundle import Bundle

Command = TypeVar("Command", bound=Callable[..., Any])


class RecipeName(click.ParamType[str]):
    """A recipe's name or folder, completed in the shell."""

    name = "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of the recipes at hand, then folders."""
        from imagebuilder.recipe.finding import names

        found = [name for name in names() if name.startswith(incomplete)]
        return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="dir")]


def names(command: Command) -> Command:
    """``NAME…``: one recipe or several."""
    return click.argument("names", nargs=-1, required=True, type=RecipeName(), metavar="NAME...")(command)


def name(command: Command) -> Command:
    """``NAME``: one recipe."""
    return click.argument("name", type=RecipeName(), metavar="NAME")(command)


def talk(command: Command) -> Command:
    """``-q`` and ``-v``."""
    command = click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")(command)
    return click.option("-v", "--verbose", is_flag=True, help="Say more of what is done.")(command)


def out(command: Command) -> Command:
    """``--out``: where bundles stand."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("out"),
        show_default=True,
        help="The folder in which images stand, each under its name.",
    )(command)


def refresh(command: Command) -> Command:
    """``--refresh``: ask the package mirrors anew."""
    text = "Ask the mirrors for newer packages (else the ones chosen the first time stay)."
    return click.option("--refresh", is_flag=True, help=text)(command)


def accel(command: Command) -> Command:
    """``--accel``: which accelerator runs the machine."""
    return click.option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        show_default=True,
        help="auto takes KVM only when a guest really ran under it.",
    )(command)


def kernel(command: Command) -> Command:
    """``--kernel``: another kernel than the recipe's."""
    text = "Another kernel than the recipe's; the image then stands in NAME@KERNEL."
    return click.option("--kernel", metavar="KERNEL", help=text)(command)


def no_stem(command: Command) -> Command:
    """``--no-stem``: no copies of a QEMU that runs."""
    text = "Make every clone a new QEMU, where it could be a copy of one that runs."
    return click.option("--no-stem", is_flag=True, help=text)(command)


def as_json(command: Command) -> Command:
    """``--json``: the result as JSON on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def open_store() -> Store:
    """The cache of this user."""
    return Store(cache_dir())


def built(name: str, out: Path, *, kernel: str | None, say: Say, cpus: int | None = None) -> "Bundle":
    """The image of a recipe, built when something changed; with a kernel that can use ``cpus``."""
    from imagebuilder.builder import Build
    from imagebuilder.recipe.load import load

    return Build(load(name), open_store(), say, kernel_name=kernel).able(cpus).run(out)


def megabytes(size_bytes: float) -> str:
    """A size for people, in MB of 10^6 bytes (kB below one, GB from 1000 on)."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"
