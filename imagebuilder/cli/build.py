"""``imagebuilder build``: images from recipes."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from imagebuilder.build.outputs import Built, built, check, described, unchanged, used
from imagebuilder.build.unchanged import Watched, remember
from imagebuilder.build.walk import Build
from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener
from imagebuilder.cli.names import FORMAT
from imagebuilder.events import Event, Say, Told, Warned
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.images import IMAGES
from imagebuilder.recipe.load import load
from imagebuilder.words import counted


def _formats() -> str:
    return (
        "Write it in this format too, as NAME.SUFFIX beside its folder; may be given several times. Images: "
        f"{', '.join(IMAGES)}; the root alone: {', '.join(FILESYSTEMS)}."
    )


@click.command("build")
@options.names
@click.option("--format", "formats", type=FORMAT, multiple=True, metavar="FORMAT", help=_formats())
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be made, and why; build nothing.")
@options.out
@options.kernel
@options.refresh
@click.option("--frozen", is_flag=True, help="Take nothing that recipe.lock does not have.")
@options.as_json
@options.talk
@click.pass_obj
def command(
    watched: Watched | None,
    names: tuple[str, ...],
    formats: tuple[str, ...],
    only_plan: bool,
    out: Path,
    kernel: str | None,
    refresh: bool,
    frozen: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Build the image of each NAME into out/NAME/ (kernel, root, command line, image.json)."""
    check(formats)
    if frozen and refresh:
        raise click.UsageError("--frozen takes what was chosen, --refresh chooses again: leave one of both out")
    recipes = [load(name) for name in names]
    store = options.open_store()
    said: list[Event] = []
    with listener(quiet=quiet, verbose=verbose) as draw:
        say = _heard(draw, said)
        builds = [Build(recipe, store, say, refresh, kernel, frozen=frozen, formats=formats) for recipe in recipes]
        planned = [_planned(build) for build in builds] if only_plan else []
        done = [built(build, out) for build in builds] if not only_plan else []
    if only_plan:
        click.echo(json.dumps(planned, indent=1) if as_json else "\n".join(map(_plan, planned)))
        return
    if watched and not (said or refresh or verbose):
        remember(watched, store, used(builds, done, names), _text(map(unchanged, done), as_json))
    click.echo(_text(done, as_json), nl=False)


def _heard(say: Say, said: list[Event]) -> Say:
    """A listener that notes what users are to read."""

    def hear(event: Event) -> None:
        if isinstance(event, Told | Warned):
            said.append(event)
        say(event)

    return hear


def _text(done: Iterable[Built], as_json: bool) -> str:
    if as_json:
        return json.dumps(described(done), indent=1) + "\n"
    return "".join(f"{line}\n" for each in done for line in _lines(each))


def _planned(build: Build) -> dict[str, Any]:
    return {"name": build.folder_name, "steps": [each.describe() for each in build.outlooks()]}


def _plan(planned: dict[str, Any]) -> str:
    """What would be made, and why."""
    name, steps = planned["name"], planned["steps"]
    made = [f"  {step['title']}: {'; '.join(step['why'])}" for step in steps if not step["cached"]]
    if not made:
        return f"{name}: nothing would be made, all is there"
    return "\n".join([f"{name}: {counted(len(made), 'step')} of {len(steps)} would be made", *made])


def _lines(done: Built) -> Iterator[str]:
    folder, kernel, root = done.bundle.folder, done.bundle.image.kernel, done.bundle.image.root
    yield (
        f"{folder}: kernel {kernel.name} {options.megabytes(kernel.bytes)}, "
        f"root {root.format} {options.megabytes(root.bytes)}, digest {done.bundle.image.digest[:12]}"
    )
    for each in done.artifacts:
        if each.path != folder:
            yield f"{each.path}: {options.megabytes(each.bytes)}"
