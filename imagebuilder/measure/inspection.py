"""``imagebuilder inspect`` from Python: what is in an image and why, and what was left out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.events import Say, silent
from imagebuilder.measure import size
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind, Tree

LARGEST = 15


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image, its root as a tree, how many bytes one would send (None: that is not known without packing it), and
    why it has its kernel: a clause."""

    bundle: Bundle
    root: Tree
    sent_bytes: int | None
    kernel_name: str
    kernel_why: str

    def largest(self, count: int = LARGEST) -> list[dict[str, Any]]:
        """The largest files of the root: path and bytes."""
        files = [(node.size_bytes, path) for path, node in self.root.items() if node.kind is Kind.FILE]
        first = sorted(files, key=lambda file: (-file[0], file[1]))[:count]
        return [{"path": path, "bytes": size_bytes} for size_bytes, path in first]

    def describe(self, count: int = LARGEST) -> dict[str, Any]:
        """As JSON."""
        image = self.bundle.image.model_dump(by_alias=True, mode="json")
        sizes = {"bytes": self.sent_bytes, "root_bytes": self.root.size_bytes}
        kernel = {"name": self.kernel_name, "why": self.kernel_why}
        return {"image": image, "kernel": kernel, **sizes, "files": self.largest(count)}


def inspect(
    name: str | Path,
    *,
    out: Path = Path("out"),
    kernel: str | None = None,
    packed: bool = False,
    store: Store | None = None,
    say: Say = silent,
) -> Inspected:
    """Look into the image of a recipe, built when something changed; ``packed`` packs it when that was not done yet.
    Raises what building raises."""
    store = store or Store(cache_dir())
    build = Build(load(name), store, say, kernel_name=kernel)
    bundle = build.run(out)
    found = (size.shipped if packed else size.promised)(bundle, store, say=say)
    sent_bytes = found.total_bytes if found else None
    return Inspected(bundle, build.root, sent_bytes, build.planner.kernel_title, build.kernel_choice.why)
