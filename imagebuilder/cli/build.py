"""``imagebuilder build``: images from recipes."""

import json
from pathlib import Path
from typing import Any

import click

from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import FORMAT


@click.command("build")
@options.names
@click.option("--format", "format_name", type=FORMAT, default="direct", show_default=True, metavar="FORMAT",
              help="direct: the bundle folder; cpio, tar, erofs or squashfs: the root alone, as one file.")  # fmt: skip
@click.option("--plan", "only_plan", is_flag=True, help="Print the steps and their ids as JSON; build nothing.")
@options.out
@options.kernel
@options.refresh
@options.as_json
@options.talk
def command(
    names: tuple[str, ...],
    format_name: str,
    only_plan: bool,
    out: Path,
    kernel: str | None,
    refresh: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Build the image of each NAME into out/NAME/ (kernel, root, command line, image.json)."""
    from imagebuilder.builder import Build, check_format
    from imagebuilder.recipe.load import load

    check_format(format_name)
    recipes = [load(name) for name in names]
    store = options.open_store()
    done: list[dict[str, Any]] = []
    with listener(quiet=quiet, verbose=verbose) as say:
        builds = [Build(recipe, store, say, refresh, kernel) for recipe in recipes]
        for build in builds:
            if only_plan:
                done.append({"name": build.recipe.name, "steps": build.plan.describe()})
            elif format_name == "direct":
                bundle = build.run(out)
                done.append({"path": str(bundle.folder), **bundle.image.model_dump(by_alias=True, mode="json")})
            else:
                path = build.write_root(out, format_name)
                done.append({"name": build.recipe.name, "path": str(path), "bytes": path.stat().st_size})
    if as_json or only_plan:
        click.echo(json.dumps(done, indent=1))
    else:
        for entry in done:
            stdout().print(_line(entry), markup=False, soft_wrap=True)


def _line(entry: dict[str, Any]) -> str:
    if "kernel" not in entry:
        return f"{entry['path']}: {options.megabytes(entry['bytes'])}"
    kernel, root = entry["kernel"], entry["root"]
    return (
        f"{entry['path']}: kernel {kernel['name']} {options.megabytes(kernel['bytes'])}, "
        f"root {root['format']} {options.megabytes(root['bytes'])}, digest {entry['digest'][:12]}"
    )
