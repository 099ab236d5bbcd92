"""Moving a kernel's pin: to the newest version of its source that the archives have, with its patches, whole or not.

Everything happens in a copy: the series is applied, the kernel and its variants are compiled and kept prebuilt, and
the boot tests run on them. Only then the copy takes the place of the definition.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from imagebuilder import process
from imagebuilder.errors import KernelError, ToolFailed
from imagebuilder.events import Say, Told, step
from imagebuilder.kernel import prebuilt, series
from imagebuilder.kernel import source as sources
from imagebuilder.kernel.compile import compiled
from imagebuilder.kernel.definition import FILE, KernelDefinition, Source, load_definition
from imagebuilder.store import Store

TESTS = ("tests/kernel/test_kernel_boot.py", "tests/machine/test_machine_boot.py")
TESTS_S = 3600.0


@dataclass(frozen=True, slots=True)
class Bump:
    """Where a pin goes: another version, or another package of another release."""

    definition: KernelDefinition
    source: Source

    @property
    def moved(self) -> bool:
        """Whether it is another source than the one of now."""
        return self.source != self.definition.source


def newest(
    definition: KernelDefinition,
    *,
    version: str | None,
    package: str | None,
    release: str | None,
    store: Store,
    say: Say,
) -> Bump:
    """The newest source that the archives have (or ``version``), of its package and release or of others.

    Raises KernelError for a kernel without a source package, SourceError when the archives do not have it.
    """
    pinned = definition.source
    if pinned is None or pinned.package is None or pinned.file is None:
        raise KernelError(f"the kernel {definition.name} is not compiled from a source package: it has no pin to move")
    file = pinned.file.replace(pinned.package, package) if package else pinned.file
    wanted = pinned.model_copy(
        update={"package": package or pinned.package, "release": release or pinned.release, "file": file}
    )
    found = version or sources.newest(wanted, store=store, say=say)
    if wanted == pinned and found == pinned.version:
        return Bump(definition, pinned)
    return Bump(definition, sources.with_digest(wanted.model_copy(update={"version": found}), store=store, say=say))


def check_series(bump: Bump, *, store: Store, say: Say) -> None:
    """Raise KernelError that names every patch that does not fit the new source."""
    patches = bump.definition.patches
    tarball = sources.tarball(bump.definition.model_copy(update={"source": bump.source}), store=store, say=say)
    with (
        store.scratch() as scratch,
        step(say, "kernel-series", f"apply {len(patches)} patches to {_named(bump.source)}"),
    ):
        try:
            series.unpack_files(tarball, scratch, series.touched(patches)[0])
        except ToolFailed as error:
            raise KernelError(f"{_named(bump.source)} lacks a file that a patch changes: {error.message}") from error
        wrong = [patch.stem for patch in patches if not _fits(scratch, patch)]
    if wrong:
        said = f"of {len(patches)} patches {len(wrong)} do not fit {_named(bump.source)}: {', '.join(wrong)}"
        raise KernelError(f"{said}; adapt them in kernels/patches: nothing was changed")


def _fits(tree: Path, patch: Path) -> bool:
    """Apply a patch to a tree if it fits."""
    try:
        series.apply(tree, [patch], dry_run=True)
    except KernelError:
        return False
    series.apply(tree, [patch])
    return True


def _named(source: Source) -> str:
    return f"{source.package} {source.version}"


def run(bump: Bump, *, store: Store, say: Say) -> None:
    """Compile, boot and only then move the pin. Raises KernelError, ToolFailed, with everything as it was."""
    folder = bump.definition.folder
    if not (checkout := folder.parent.parent).joinpath(TESTS[0]).is_file():
        raise KernelError(f"a pin is moved in a checkout: the boot tests are not beside {folder.parent}")
    check_series(bump, store=store, say=say)
    with TemporaryDirectory(prefix=".bump-", dir=folder.parent.parent) as scratch:
        copy = Path(scratch) / "kernels"
        shutil.copytree(folder.parent, copy)
        candidate = copy / folder.name
        (candidate / FILE).write_text(repinned((folder / FILE).read_text(), bump.source))
        for extra in (definition := load_definition(candidate)).variants:
            prebuilt.write(definition, compiled(definition, extra, store=store, say=say), store, extra)
        _boot(checkout, Path(scratch), say)
        _swap(candidate, folder)


def repinned(text: str, source: Source) -> str:
    """A definition's text with another source, and nothing else changed."""
    for key in ("release", "package", "version", "file", "sha256"):
        text = re.sub(rf'^{key} = "[^"]*"$', f'{key} = "{getattr(source, key)}"', text, count=1, flags=re.MULTILINE)
    return text


def _boot(checkout: Path, scratch: Path, say: Say) -> None:
    """Run the boot tests where the copy's kernels are the user's own. Raises KernelError with pytest's summary."""
    words: Sequence[str | Path] = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with step(say, "kernel-boot", "boot the new kernel in the tests"):
        try:
            tests = [checkout / test for test in TESTS]
            found = os.pathsep.join(filter(None, sys.path))  # by PYTHONPATH, too, which is not passed on
            process.run([*words, *tests], cwd=scratch, env={"COLUMNS": "500", "PYTHONPATH": found}, timeout_s=TESTS_S)
        except ToolFailed as error:
            raise KernelError(_why_not(error)) from error
    say(Told("the boot tests passed"))


def _why_not(error: ToolFailed) -> str:
    """The failed tests as pytest lists them on its standard output, or else the last that it printed."""
    lines = error.stdout.strip().splitlines() or error.stderr.strip().splitlines() or [error.how]
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return "\n".join([f"the boot tests {error.how}; the pin was not moved:", *(failed or lines[-process.TAIL_LINES :])])


def _swap(candidate: Path, folder: Path) -> None:
    """Put a definition in the place of another; what fails in between puts the old one back."""
    old = candidate.with_name(f"{folder.name}.old")
    folder.rename(old)
    try:
        candidate.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
