"""A kernel's patches as a series over its source, in a tree that is brought from one series to another: only the files
that differ are written, so that make compiles only what a patch touches."""

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import process
from imagebuilder.errors import KernelError, ToolFailed
from imagebuilder.kernel.patches import changes

PATCH_S = 300.0  # for one patch: measured well below a second
OLD = re.compile(rb"^--- a/(\S+)", re.MULTILINE)
NEW = re.compile(rb"^--- /dev/null\n\+\+\+ b/(\S+)", re.MULTILINE)
OPTION = re.compile(rb"^\+(?:menu)?config (\w+)", re.MULTILINE)


def touched(patches: Iterable[Path]) -> tuple[set[str], set[str]]:
    """The files of the source that patches change, and those that they add."""
    texts = [changes(patch) for patch in patches]
    added = {name.decode() for text in texts for name in NEW.findall(text)}
    return {name.decode() for text in texts for name in OLD.findall(text)} - added, added


def options(patch: Path) -> set[str]:
    """The symbols of configuration that a patch brings."""
    return {name.decode() for name in OPTION.findall(changes(patch))}


def apply(tree: Path, patches: Sequence[Path], *, dry_run: bool = False) -> None:
    """Change a tree by patches, one after the other (or see whether each fits the tree as it is). Raises KernelError
    that names the first that does not fit."""
    for number, patch in enumerate(patches, 1):
        words = ["patch", "--strip=1", "--batch", "--forward", "--no-backup-if-mismatch"]
        words += ["--dry-run"] if dry_run else []
        try:
            process.run(words, cwd=tree, stdin=changes(patch), timeout_s=PATCH_S)
        except ToolFailed as error:
            where = f"(patch {number} of {len(patches)})"
            raise KernelError(f"{patch} does not fit the kernel's source {where}: adapt the patch") from error


def unpack_files(source: Path, folder: Path, names: Iterable[str]) -> None:
    """Some files out of a source tarball, without the folder that all of it is in."""
    patterns = [f"*/{name}" for name in sorted(names)]
    words = ("tar", "--extract", "--file", str(source), "--directory", str(folder), "--strip-components=1")
    process.run([*words, "--no-same-owner", "--wildcards", "--no-wildcards-match-slash", *patterns], timeout_s=PATCH_S)


@dataclass(frozen=True, slots=True)
class Workspace:
    """An unpacked source, and beside it the files that patches touch as the source has them."""

    tree: Path
    original: Path

    @classmethod
    def of(cls, tree: Path, source: Path, patches: Sequence[Path]) -> "Workspace":
        """The workspace of a tree that was unpacked from ``source``, for all series of these patches."""
        original = tree.with_name(f"{tree.name}.original")
        changed, _ = touched(patches)
        if missing := [name for name in changed if not (original / name).is_file()]:
            original.mkdir(exist_ok=True)
            unpack_files(source, original, missing)
        return cls(tree, original)

    def become(self, patches: Sequence[Path], scratch: Path, known: Sequence[Path]) -> list[str]:
        """Bring the tree to a series; ``known`` are all patches that it may have now. Returns the files that differed.

        Raises KernelError, with the tree as it was, when one does not fit.
        """
        wanted = scratch / "wanted"
        shutil.copytree(self.original, wanted)
        apply(wanted, patches)
        changed, added = touched(known)
        different = [name for name in sorted(changed | added) if _content(wanted / name) != _content(self.tree / name)]
        for name in different:
            content = _content(wanted / name)
            (self.tree / name).unlink(missing_ok=True)
            if content is not None:
                (self.tree / name).write_bytes(content)
        return different


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
