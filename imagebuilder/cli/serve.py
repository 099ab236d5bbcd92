"""``imagebuilder serve``: a small HTTP server whose every request is answered by a machine of its own."""

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener
from imagebuilder.events import Event, Note
from imagebuilder.fleet.pool import Pool
from imagebuilder.fleet.server import Front, Served, http_port
from imagebuilder.machine.accel import choose
from imagebuilder.machine.failures import check_free
from imagebuilder.machine.spec import LOOPBACK
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.recipe.load import load
from imagebuilder.recipe.values import Egress
from imagebuilder.words import counted

PATIENCE_S = 5.0  # for requests that are under way when it ends; a second Ctrl-C gives them none
READY = 4
FELL_SHORT = 1
OUR_FAULT = range(500, 600)  # and not the client's


@click.command("serve")
@options.name
@click.option("--per-request", is_flag=True, required=True, help="Answer every request with a machine of its own.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True,
              help="The port of 127.0.0.1 to listen on; 0 for any free one.")  # fmt: skip
@click.option("--ready", type=click.IntRange(1), default=READY, show_default=True, help="Machines kept ready.")
@click.option("--requests", type=click.IntRange(1), metavar="N", help="End after N requests.")
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory; overrides the recipe's.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each request, and one at the end.")
@options.egress
@options.no_fork_server
@options.accel
@options.kernel
@options.out
@options.talk
def command(
    name: str,
    per_request: bool,
    port: int,
    ready: int,
    requests: int | None,
    memory_mib: int | None,
    as_json: bool,
    egress: Egress | None,
    no_fork_server: bool,
    accel: str,
    kernel: str | None,
    out: Path,
    quiet: bool,
    verbose: bool,
) -> None:
    """Serve the image NAME on 127.0.0.1: every HTTP request gets a machine of its own, a clone that was kept ready and
    is thrown away afterwards. Its template is created when there is none. Ctrl-C ends it."""
    recipe = load(name)
    http_port(recipe.name, recipe.ready)  # better known before a template is made, as whether the port is free
    check_free(port)
    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        accelerator = choose(accel, store=store).accelerator
        bundle = options.built(name, out, kernel=kernel, say=say)
        wanted = Wanted.of(bundle, accelerator, memory_mib=memory_mib, egress=egress)
        template = signals.run(found_or_made(wanted, store, say=say))
    log = _Log(as_json=as_json, quiet=quiet, most=requests)
    pool = Pool(template, ready=ready, warm=wanted.recipe.warm, copies=not no_fork_server, say=log.hear)
    signals.run(_serve(pool, port, log))
    log.sum_up()
    if log.ended_by is not None:
        raise signals.Ended(log.ended_by)
    raise SystemExit(FELL_SHORT if any(each.trouble and each.status in OUR_FAULT for each in log.served) else 0)


async def _serve(pool: Pool, port: int, log: "_Log") -> None:
    loop, again = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: int) -> None:
        log.ended_by = log.ended_by or number
        (again if log.over.is_set() else log.over).set()

    async with pool:
        front = Front(pool, on_served=log.note)
        try:
            at = await front.listen(port)
            for number in signals.watched():
                loop.add_signal_handler(number, stop, number)
            await _either(pool.full(), log.over.wait())
            if not log.over.is_set():
                log.say(f"http://{LOOPBACK}:{at}: a machine of its own for every request; Ctrl-C ends it")
            await log.over.wait()
            await _either(front.close(PATIENCE_S), again.wait())
        finally:
            await front.close(0)


async def _either(*ways: Coroutine[Any, Any, object]) -> None:
    """Until one of them has ended, and as it ended; the other is given up."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@dataclass
class _Log:
    """What was served, reported as it comes. ``over`` is set when it was enough."""

    as_json: bool
    quiet: bool
    most: int | None
    served: list[Served] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ended_by: int | None = None

    def note(self, each: Served) -> None:
        """A request was answered."""
        self.served.append(each)
        if self.as_json:
            self._print({"at": round(time.time(), 6), **asdict(each), "took_ms": round(each.took_ms, 3)})
        else:
            words = f"{each.method} {each.target} {each.status} {each.took_ms:.1f} ms {each.machine or '-'}"
            self.say(f"{words}: {each.trouble}" if each.trouble else words)
        if self.most is not None and len(self.served) >= self.most:
            self.over.set()

    def say(self, line: str) -> None:
        """For people: on standard error."""
        if not self.quiet:
            click.echo(line, err=True)

    def hear(self, event: Event) -> None:
        """What the pool says besides."""
        if isinstance(event, Note):
            self.say(event.text)

    def sum_up(self) -> None:
        """All of it in one line."""
        times = [each.took_ms for each in self.served]
        troubled = sum(each.trouble is not None for each in self.served)
        if self.as_json:
            figures = {"median_ms": round(median(times), 3), "largest_ms": round(max(times), 3)} if times else {}
            self._print({"requests": len(times), "troubled": troubled, **figures})
        elif times:
            told = f"{counted(len(times), 'request')}, median {median(times):.1f} ms, largest {max(times):.1f} ms"
            click.echo(", ".join([told, *self._kinds()]))
        else:
            click.echo("no request came")

    def _kinds(self) -> Iterator[str]:
        """How many requests got no answer of the application, and whose fault that was."""
        troubled = [each.status in OUR_FAULT for each in self.served if each.trouble is not None]
        failed = sum(troubled)
        yield from [f"{failed:,} without an answer"] if failed else []
        yield from [f"{len(troubled) - failed:,} refused"] if len(troubled) > failed else []

    def _print(self, row: dict[str, Any]) -> None:
        click.echo(json.dumps(row))
