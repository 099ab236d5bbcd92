"""What globs select in a tree, through the links in their fixed part."""

from imagebuilder.closure import globs
from imagebuilder.recipe.suggestions import nearest
from imagebuilder.sources.hints import nearest_path
from imagebuilder.tree import Kind, Tree, is_below


def matching(glob: str, tree: Tree) -> list[str]:
    """The paths that a glob matches."""
    matcher = globs.matcher(_real(glob, tree))
    return [path for path in tree if matcher.fullmatch(path)]


def selected(glob: str, tree: Tree) -> list[str]:
    """The paths that a glob means: a folder that it names stands for all in it."""
    found = matching(glob, tree)
    named = frozenset(found)
    folders = {path for path in found if tree[path].kind is Kind.DIRECTORY}
    return [path for path in tree if path in named or "/" in folders or is_below(path, folders)]


def other_glob(glob: str, tree: Tree) -> str | None:
    """A hint for a glob that matches nothing: a path, or the glob in a folder that is there."""
    fixed = globs.fixed_part(glob)
    if fixed == glob:
        near = nearest_path(glob, tree)
        return f'did you mean "{near}"?' if near else None
    near = nearest(fixed, (path for path, node in tree.items() if node.kind is Kind.DIRECTORY))
    wanted = f"{near}{glob.removeprefix(fixed)}"
    return f'did you mean "{wanted if matching(wanted, tree) else near}"?' if near else None


def _real(glob: str, tree: Tree) -> str:
    """The glob with the links in its fixed part resolved (/lib/… is in /usr/lib/…), but for a link that it names."""
    fixed = globs.fixed_part(glob)
    folder = fixed if fixed != glob else fixed.rpartition("/")[0]
    real = tree.resolve(folder) if folder else None
    return glob if real is None else real.rstrip("/") + glob.removeprefix(folder)
