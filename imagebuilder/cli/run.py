"""``imagebuilder run``: boot an image with the console attached."""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click

from imagebuilder.arch import Firmware
from imagebuilder.build.outputs import firmware_of
from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener
from imagebuilder.cli.given import given, variables
from imagebuilder.events import Say
from imagebuilder.machine.accel import choose
from imagebuilder.machine.clone import Identity, clone
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ending import Exit, How
from imagebuilder.machine.given import MOST_FILE_BYTES, Given, read_secrets
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.spec import Forward, spec_of
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.process import shell_line
from imagebuilder.recipe.values import Egress

CHUNK_BYTES = 65536
SIGNALLED = 128  # as shells count: 128 + the signal's number
FAILED = 1
OPEN = "the guest can reach all that this host reaches but its 127.0.0.1 and 169.254.0.0/16 (a cloud's metadata)"


class Port(click.ParamType[Forward]):
    """``HOST:GUEST``: a port of 127.0.0.1 and the guest's port behind it."""

    name = "HOST:GUEST"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Forward:
        """The forward that the words ask for."""
        match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", str(value))
        if not match or not all(0 < int(number) < 65536 for number in match.groups()):
            self.fail(f"{value!r} is not HOST:GUEST, two ports from 1 to 65535, as in 8080:80", param, ctx)
        return Forward(int(match[1]), int(match[2]))


@click.command("run")
@options.name
@options.accel
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory; overrides the recipe's.")
@options.cpus
@options.egress
@click.option(
    "--port", "ports", multiple=True, type=Port(), help="Forward a fixed port of 127.0.0.1 to a port of the guest."
)
@click.option("--from-template", is_flag=True, help="Resume from its template (imagebuilder template create).")
@click.option(
    "--refresh-template", is_flag=True, help="As --from-template; a missing or stale template is created first."
)
@given
@click.option("--user-data", type=click.File("rb"), metavar="FILE", help="The content of /run/instance/user-data.")
@click.option("--dry-run", is_flag=True, help="Print the QEMU command line, ready to be pasted into a shell.")
@options.medium
@options.kernel
@options.out
@options.talk
def command(
    name: str,
    accel: str,
    memory_mib: int | None,
    cpus: int | None,
    egress: Egress | None,
    ports: tuple[Forward, ...],
    from_template: bool,
    refresh_template: bool,
    environment: tuple[tuple[str, str], ...],
    env_file: Path | None,
    secrets: tuple[tuple[str, Path], ...],
    user_data: BinaryIO | None,
    dry_run: bool,
    format_name: str | None,
    firmware: Firmware | None,
    kernel: str | None,
    out: Path,
    quiet: bool,
    verbose: bool,
) -> None:
    """Boot the image NAME with its console attached (it is built when something changed). The exit status is the
    application's; Ctrl-C ends it, with 130."""
    cloned = from_template or refresh_template
    if cloned and dry_run:
        raise click.UsageError("a clone has no command line to paste: it is given its state and its name over sockets")
    if firmware_of(format_name, firmware) is not None and cloned:
        raise click.UsageError("a template is made of the image as its host starts it: leave --format out")
    data = user_data.read(MOST_FILE_BYTES + 1) if user_data else b""
    gift = Given(variables(environment, env_file), data, read_secrets(dict(secrets)))
    if gift and dry_run:
        raise click.UsageError("what a machine is given goes over a socket, and stands on no command line to paste")
    with listener(quiet=quiet, verbose=verbose) as say:
        choice = choose(accel)
        bundle, medium = options.started(
            name, out, kernel=kernel, say=say, cpus=cpus, format_name=format_name, firmware=firmware
        )
        wanted = Wanted.of(bundle, choice.accelerator, memory_mib=memory_mib, cpus=cpus, egress=egress)
        template = _template(wanted, refresh=refresh_template, say=say) if cloned else None
    spec = spec_of(
        bundle,
        accelerator=choice.accelerator,
        memory_mib=memory_mib,
        cpus=cpus,
        egress=egress,
        forwards=ports,
        medium=medium,
        given=gift,
    )
    if dry_run:
        click.echo(shell_line(argv(with_ports(spec), wiring=None)))
        return
    if verbose:
        click.echo(choice.why, err=True)
    screen = _Screen()
    if template is None:
        machine = Instance.start(spec, on_console=screen)
    else:
        identity = Identity.of(template, environment=gift.environment, user_data=gift.user_data, secrets=gift.secrets)
        machine = clone(template, identity, forwards=ports, on_console=screen)
    found, number = signals.run(_attached(machine, screen, quiet=quiet))
    if screen.error is not None:
        raise screen.error
    if number is not None:
        raise signals.Ended(number)
    if found.how is not How.APPLICATION:
        click.echo(f"imagebuilder: {found.why}", err=True)
    raise SystemExit(_status(found))


def _template(wanted: Wanted, *, refresh: bool, say: Say) -> Template:
    """The image's template, made when that is asked for. Raises InputError when it is missing or stale."""
    store = options.open_store()
    return signals.run(found_or_made(wanted, store, say=say)) if refresh else wanted.find(store)


def _status(found: Exit) -> int:
    if found.status is not None:
        return found.status
    return SIGNALLED + found.signal if found.signal is not None else FAILED


async def _attached(
    machine: AbstractAsyncContextManager[Instance], screen: "_Screen", *, quiet: bool
) -> tuple[Exit, int | None]:
    """Run it with the terminal as its console until it ends; the first Ctrl-C asks it to end, a second one kills it.
    Returns how it ended, and the signal that asked for that."""
    async with machine as instance:
        if not quiet:
            for forward in instance.forwards:
                click.echo(f"port {forward.guest_port} is at 127.0.0.1:{forward.host_port}", err=True)
            if instance.spec.egress is Egress.FULL:
                click.echo(OPEN, err=True)
        loop = asyncio.get_running_loop()
        asked: dict[int, asyncio.Task[Exit]] = {}

        def stop(number: int) -> None:
            if asked:
                instance.kill()
            else:
                asked[number] = loop.create_task(instance.terminate())

        screen.on_error = lambda: stop(0)
        for each in signals.watched():
            loop.add_signal_handler(each, stop, each)
        with _typing(instance, loop):
            found = await instance.wait_exit()
        for hint in instance.evidence.remedies if not (asked or found.ok or quiet) else ():
            click.echo(f"hint: {hint}", err=True)
        return found, next(filter(None, asked), None)


class _Screen:
    """What the guest's console shows. When it cannot be shown any more the machine is ended."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.on_error: Callable[[], None] = lambda: None

    def __call__(self, data: bytes) -> None:
        if self.error is not None:
            return
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            self.error = error
            self.on_error()


@contextmanager
def _typing(instance: Instance, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Standard input is typed into the console, no faster than the guest takes it."""

    def listen(room: bool) -> None:
        with suppress(OSError, ValueError):  # a file or no standard input at all: nothing to type
            if room:
                loop.add_reader(sys.stdin.fileno(), typed)
            else:
                loop.remove_reader(sys.stdin.fileno())

    def typed() -> None:
        if data := os.read(sys.stdin.fileno(), CHUNK_BYTES):
            instance.terminal.write(data)
        else:
            listen(False)

    instance.terminal.on_room = listen
    listen(True)
    try:
        yield
    finally:
        instance.terminal.on_room = lambda _room: None
        listen(False)
