"""``imagebuilder cache``: list, prune and verify what builds keep for the next time."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from imagebuilder import cache
from imagebuilder.cache import MEANING, Entry, Kind
from imagebuilder.cli import options
from imagebuilder.cli.drawing import stdout
from imagebuilder.cli.tables import show
from imagebuilder.errors import InputError
from imagebuilder.words import counted

DAMAGED = 1


class Size(click.ParamType[int]):
    """``10G``, ``500M`` or a number of bytes."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes."""
        found = None
        with suppress(InputError):
            found = cache.size_of(str(value), what="--to")
        if found is None:
            self.fail(f"{str(value)!r} is no size such as 10G or 500M", param, ctx)
        return found


@click.group("cache", cls=options.Verbs)
def command() -> None:
    """List, prune and verify the cache of builds: packages, kernels, results of steps, templates.

    It stands in $IMAGEBUILDER_CACHE, else in imagebuilder below $XDG_CACHE_HOME, else in ~/.cache/imagebuilder, and
    grows to $IMAGEBUILDER_CACHE_LIMIT (such as 10G; none for no limit), else to 5 GB.
    """


@command.command("ls")
@options.as_json
def ls(as_json: bool) -> None:
    """List what is in the cache, by kind."""
    store, limit = options.open_store(), cache.limit_bytes()
    found = list(cache.entries(store))
    kinds = [_kind(kind, [entry for entry in found if entry.kind is kind]) for kind in Kind]
    total = sum(entry.size_bytes for entry in found)
    if as_json:
        document = {"cache": str(store.root), "bytes": total, "limit_bytes": limit, "kinds": kinds}
        click.echo(json.dumps(document, indent=1))
        return
    table = Table("what", "entries", "size", "last used")
    for row in kinds:
        table.add_row(row["what"], str(row["entries"]), options.megabytes(row["bytes"]), row["last_used"] or "")
    show(stdout(), table)
    most = "no limit" if limit is None else f"at most {options.megabytes(limit)}"
    click.echo(f"{store.root}: {options.megabytes(total)}, {most}")


def _kind(kind: Kind, found: list[Entry]) -> dict[str, Any]:
    used_s = max((entry.used_s for entry in found), default=None)
    last = None if used_s is None else datetime.fromtimestamp(used_s, UTC).isoformat(timespec="seconds")
    size = sum(entry.size_bytes for entry in found)
    return {"kind": kind.value, "what": MEANING[kind], "entries": len(found), "bytes": size, "last_used": last}


@command.command("prune")
@click.option("--to", "most", type=Size(), metavar="SIZE",
              help="Make it no larger than SIZE, such as 500M; 0 removes all that can be made again.")  # fmt: skip
@options.as_json
def prune(most: int | None, as_json: bool) -> None:
    """Remove what was not used for the longest time, until the cache is within its limit or SIZE. Builds make what they
    miss again; which versions of packages were chosen stays known."""
    store = options.open_store()
    done = cache.prune(store, cache.limit_bytes() if most is None else most)
    if as_json:
        names = {"removed": done.removed, "removed_bytes": done.removed_bytes, "bytes": done.left_bytes}
        click.echo(json.dumps({**names, "busy": done.busy}, indent=1))
        return
    freed, left = options.megabytes(done.removed_bytes), options.megabytes(done.left_bytes)
    click.echo(f"removed {counted(done.removed, 'entry', 'entries')} of {freed}, {left} are left")
    if done.busy:
        click.echo(
            f"{counted(done.busy, 'entry', 'entries')} in use, or used in the last ten minutes, stayed", err=True
        )


@command.command("verify")
@options.as_json
def verify(as_json: bool) -> None:
    """Read every content, result and template, and remove what is damaged: it is rebuilt. Exit status 1 when there
    was something."""
    count, damaged = cache.verify(options.open_store())
    if as_json:
        click.echo(json.dumps({"checked": count, "damaged": [str(path) for path in damaged]}, indent=1))
    else:
        for path in damaged:
            click.echo(f"damaged, and removed: {path}")
        click.echo(f"{counted(count, 'entry', 'entries')} read, {len(damaged)} damaged")
    raise SystemExit(DAMAGED if damaged else 0)
