"""Options that several verbs share, and what they open."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagebuilder.arch import Firmware
from imagebuilder.cli.names import FORMAT, KERNEL, RECIPE, FilePath
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import Say
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store

if TYPE_CHECKING:
    from imagebuilder.bundle import Bundle
    from imagebuilder.images import Medium
    from imagebuilder.measure.report import Report
    from imagebuilder.recipe.values import Egress

DISKS = ("disk", "qcow2", "vmdk", "vhd")  # outputs.startable(), which --help has no time to import
Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


class Verbs(click.Group):
    """Verbs of a verb; ``--help`` has the whole first sentence of each, which click would cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of them."""
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def names(command: Command) -> Command:
    """``NAME…``: one recipe or several; none is that of the current folder."""
    argument = click.argument("names", nargs=-1, type=RECIPE, metavar="[NAME]...", callback=_or_this_folder)
    return argument(command)


def name(command: Command) -> Command:
    """``NAME``: one recipe; none is that of the current folder."""
    argument = click.argument("name", required=False, type=RECIPE, metavar="[NAME]", callback=_or_this_folder)
    return argument(command)


def _or_this_folder(ctx: click.Context, param: click.Parameter, given: T) -> T | str | tuple[str, ...]:
    if given or ctx.resilient_parsing:
        return given
    found = or_this_folder("the NAME of a recipe")
    return found if param.nargs == -1 else found[0]


def or_this_folder(wanted: str) -> tuple[str, ...]:
    """The recipe of the current folder, where nothing else was named. Raises UsageError when there is none."""
    from imagebuilder.recipe.lookup import FILE

    if not Path(FILE).is_file():
        raise click.UsageError(f"give {wanted}, or go to a folder with a {FILE} (imagebuilder list shows the names)")
    return (".",)


def talk(command: Command) -> Command:
    """``-q`` and ``-v``."""
    command = click.option(
        "-q", "--quiet", is_flag=True, help="No progress on standard error: warnings and errors only."
    )(command)
    return click.option("-v", "--verbose", is_flag=True, help="More detailed output.")(command)


def out(command: Command) -> Command:
    """``--out``: where bundles stand."""
    return click.option(
        "-o",
        "--out",
        type=FilePath(file_okay=False),
        default=Path("out"),
        show_default=True,
        help="The output folder: each image in a folder of its name.",
    )(command)


def artefacts(command: Command) -> Command:
    """``--artefacts``: what failures leave. It stands below ``out``, on whose value its default depends."""
    return click.option(
        "--artefacts",
        type=FilePath(file_okay=False),
        metavar="DIR",
        callback=_beside_images,
        help="The folder for the logs of failures.  [default: artefacts in the --out folder]",
    )(command)


def _beside_images(ctx: click.Context, _param: click.Parameter, given: Path | None) -> Path:
    return given if given is not None else Path(ctx.params["out"]) / "artefacts"


def report(command: Command) -> Command:
    """``--json FILE``: the report of what was measured."""
    text = "Write the report as JSON; - is standard output, which then holds nothing else."
    target = FilePath(dir_okay=False, allow_dash=True)
    return click.option("--json", "json_path", type=target, metavar="FILE", help=text)(command)


STDOUT = Path("-")


def check_writable(path: Path | None) -> None:
    """A report that could not be written is better known before minutes of measuring. Raises OutputError."""
    if path not in (None, STDOUT) and not (folder := path.absolute().parent).is_dir():
        raise OutputError.of(path, FileNotFoundError(0, f"the folder {folder} is not there"))


def write(content: bytes, path: Path) -> None:
    """Write a file whole or not at all, or print it. Raises OutputError."""
    from imagebuilder.filesystems.common import replacing

    if path == STDOUT:
        click.echo(content, nl=False)
        return
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:  # no file can be made in this folder
        raise OutputError.of(path, error) from error


def write_report(report: "Report", path: Path | None) -> None:
    """Write a report where that is asked for. Raises OutputError."""
    if path is not None:
        write(report.to_bytes(), path)


def refresh(command: Command) -> Command:
    """``--refresh``: ask the package mirrors again."""
    text = "Choose again and write recipe.lock, as lock --update does (else what it has stays)."
    return click.option("--refresh", is_flag=True, help=text)(command)


def accel(command: Command) -> Command:
    """``--accel``: which accelerator runs the machine."""
    return click.option(
        "--accel",
        type=click.Choice(["auto", "kvm", "tcg"]),
        default="auto",
        show_default=True,
        help="auto uses KVM only when a test guest has run under it.",
    )(command)


def kernel(command: Command) -> Command:
    """``--kernel``: another kernel than the recipe's."""
    text = "Another kernel than the recipe's; the image is then built in NAME@KERNEL."
    return click.option("--kernel", type=KERNEL, metavar="KERNEL", help=text)(command)


def cpus(command: Command) -> Command:
    """``--cpus``: more or fewer processors than the recipe's."""
    text = "Processors; overrides the recipe's. With more than its kernel supports, the image is built in NAME@KERNEL."
    return click.option("--cpus", type=click.IntRange(1), help=text)(command)


def egress(command: Command) -> Command:
    """``--egress``: what the guest can reach."""
    text = (
        "What the guest can reach; overrides the recipe's: nothing, or all that this host reaches except its loopback."
    )
    return click.option("--egress", type=click.Choice(["none", "full"]), callback=_level, help=text)(command)


def _level(_ctx: click.Context, _param: click.Parameter, given: str | None) -> "Egress | None":
    from imagebuilder.recipe.values import Egress

    return None if given is None else Egress(given)


def medium(command: Command) -> Command:
    """``--format`` and ``--firmware``: what a machine starts instead of the bundle."""
    text = f"Start a disk in this format instead of the bundle: {', '.join(DISKS)}."
    command = click.option(
        "--firmware", type=click.Choice([Firmware.BIOS.value, Firmware.UEFI.value]), callback=_firmware,
        help="The firmware that starts a disk.  [default: bios]",
    )(command)  # fmt: skip
    return click.option("--format", "format_name", type=FORMAT, metavar="FORMAT", help=text)(command)


def _firmware(_ctx: click.Context, _param: click.Parameter, given: str | None) -> Firmware | None:
    return None if given is None else Firmware(given)


def no_fork_server(command: Command) -> Command:
    """``--no-fork-server``: no copies of a QEMU that runs."""
    text = "Start a new QEMU for every clone, instead of copying a running one."
    return click.option("--no-fork-server", is_flag=True, help=text)(command)


def as_json(command: Command) -> Command:
    """``--json``: the result as JSON on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def open_store() -> Store:
    """The cache of this user."""
    return Store(cache_dir())


def built(name: str, out: Path, *, kernel: str | None, say: Say, cpus: int | None = None) -> "Bundle":
    """The image of a recipe, built when something changed; with a kernel that can use ``cpus``."""
    return started(name, out, kernel=kernel, say=say, cpus=cpus)[0]


def started(
    name: str,
    out: Path,
    *,
    kernel: str | None,
    say: Say,
    cpus: int | None = None,
    format_name: str | None = None,
    firmware: Firmware | None = None,
) -> "tuple[Bundle, Medium | None]":
    """The same, and what a machine starts instead of it, where a format was asked for."""
    from imagebuilder.build.outputs import media
    from imagebuilder.build.walk import Build
    from imagebuilder.recipe.load import load

    formats = (format_name,) if format_name else ()
    build = Build(load(name), open_store(), say, kernel_name=kernel, formats=formats).able(cpus)
    return media(build, out, (firmware,) if firmware else ())[0]


def standing(name: str, out: Path) -> "Bundle":
    """An image that was built already, as it stands: of a recipe in ``out``, or in a folder of its own. Nothing is
    built, and its files are not looked at. Raises InputError when there is none."""
    from imagebuilder.bundle import IMAGE_JSON, Bundle

    for folder in (Path(name), out / name):
        if (folder / IMAGE_JSON).is_file():
            return Bundle.open(folder, check=False)
    from imagebuilder.recipe.load import load

    recipe = load(name)
    folder = out / recipe.name
    if not (folder / IMAGE_JSON).is_file():
        raise InputError(f"there is no image of {recipe.name} in {out}", hint=f"imagebuilder build {name}")
    return Bundle.open(folder, check=False)


def megabytes(size_bytes: float) -> str:
    """A size for people, in MB of 10^6 bytes (kB below one, GB from 1000 on)."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"
