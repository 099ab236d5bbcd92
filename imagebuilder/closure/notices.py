"""What the user should read about files that are kept: sentences."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from imagebuilder.closure import scripts
from imagebuilder.tree import Tree

SHOWN = 5


def idle(scripts_by_lack: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """One sentence for all scripts that cannot run in the image, by the interpreter that they lack."""
    if scripts_by_lack:
        parts = [_lacking(program, sorted(paths)) for program, paths in sorted(scripts_by_lack.items())]
        yield f"scripts that are kept cannot run in the image: {'; '.join(parts)}"


def uncalled(paths: Iterable[str], tree: Tree, kept: Container[str]) -> Iterator[str]:
    """A sentence for each of these scripts that calls programs by their paths which the image will not have."""
    for path in dict.fromkeys(paths):
        real = tree.resolve(path)
        if real is None or not scripts.is_executable(tree[real]) or not scripts.first_line(tree[real]):
            continue
        named = [word for word in scripts.programs_named(tree[real], tree) if tree.resolve(word) not in kept]
        if named:
            yield f"{path} calls {_listed(named)}, not kept in the image: name it under source.include"


def _lacking(program: str, paths: Sequence[str]) -> str:
    hint = scripts.package_hint(program)
    needs = "need" if len(paths) > 1 else "needs"
    return f"{_listed(paths)} {needs} {program}{f' ({hint})' if hint else ''}"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{', '.join(paths[:SHOWN])}{more}"
