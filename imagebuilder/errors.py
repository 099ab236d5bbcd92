"""Every error that a user can cause or meet, each with one sentence that says what to do.

::

    ImagebuilderError            anything that imagebuilder itself reports
    ├── InputError               the user's files or words are wrong
    │   ├── RecipeError          a recipe (all its problems at once)
    │   ├── KernelError          a kernel definition, or a kernel that is not there
    │   ├── NotExecutable        a program whose mode does not let us run it
    │   ├── SourceError          what a source was asked for cannot be given
    │   └── ClosureError         a file that the application needs is not in the image
    ├── Refused                  a signature, or what it vouches for, is not as it has to be
    ├── MachineLacks             this machine has not what was asked for
    │   ├── ToolMissing          another program is not installed
    │   └── KvmUnusable          no guest runs under KVM here
    ├── ToolFailed               another program ended with an error
    │   └── ToolTimedOut         it did not end within its time
    ├── CacheError               the store holds something else than it should
    ├── OutputError              the result cannot be written (disk full, no permission)
    └── MachineError             the machine could not be started or talked to
        ├── NotReady             the instance did not get ready within its time
        └── GuestFailed          the guest said, or showed, that it failed

Exit statuses: 1 an image is not, or did not do, what was promised, 2 the input is wrong, 3 this machine lacks
something. (4 is for a comparison that is undecided; that is no error.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.words import printable, shortened

MOST_PROBLEMS = 50


class ImagebuilderError(Exception):
    """A sentence that says what is wrong and what to do, and a hint where one helps."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = _shown(message)
        self.hint = _shown(hint) if hint else hint
        self.evidence: Mapping[str, str] = {}
        """What there is to see of it besides, as files: their names and contents."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def _shown(text: str) -> str:
    """A text whose every line can be printed: parts of it may be foreign, and steer a terminal."""
    return text if text.isprintable() else "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: where it stands and what was expected. ``line`` counts from 1; 0 is not known."""

    file: Path
    line: int
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        hint = f" ({self.hint})" if self.hint else ""
        key = f"{shortened(self.key)}: " if self.key else ""
        return printable(f"{place}: {key}{self.message}{hint}")


class InputError(ImagebuilderError):
    """The user's files or words are wrong."""


class RecipeError(InputError):
    """A recipe, or another file of ours, has mistakes: all of them, in the order of the file; of very many the
    sentence has the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        left = len(problems) - MOST_PROBLEMS
        more = [f"{problems[0].file}: and {left} more mistakes"] if left > 0 else []
        super().__init__("\n".join([*map(str, problems[:MOST_PROBLEMS]), *more]))
        self.problems = problems


class KernelError(InputError):
    """A kernel definition is wrong, or the kernel is not there."""


class NotExecutable(InputError):
    """A program is there, and its mode does not let anybody execute it."""


class SourceError(InputError):
    """What a source was asked for cannot be given."""


class ClosureError(InputError):
    """A file that the application needs is not in the image."""


class Refused(ImagebuilderError):
    """A signature, or what it vouches for, is not as it has to be."""

    exit_status = 1


class MachineLacks(ImagebuilderError):
    """This machine has not what was asked for: nothing is wrong with the image or the recipe."""

    exit_status = 3


class KvmUnusable(MachineLacks):
    """KVM was asked for, and no guest runs under it here."""


class ToolMissing(MachineLacks):
    """Another program is not installed; the hint is the command that installs it."""


class ToolFailed(ImagebuilderError):
    """Another program ended with an error. ``stderr`` is the end of what it said, ``how`` the predicate of a sentence
    about it, ``stdout`` the end of what it printed where that was kept apart."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        stderr: str = "",
        hint: str | None = None,
        how: str = "failed",
        stdout: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.how = how
        self.status = status
        self.stderr = stderr
        self.stdout = stdout


class ToolTimedOut(ToolFailed):
    """Another program did not end within its time, and was ended."""


class CacheError(ImagebuilderError):
    """The store holds something else than it should."""


class OutputError(ImagebuilderError):
    """The result cannot be written."""

    @classmethod
    def of(cls, path: Path, error: OSError, *, hint: str | None = None) -> "OutputError":
        """For a file that could not be written: the reason, with what stands in its way where that is another file."""
        blocked = next((each for each in reversed(path.parents) if each.exists() and not each.is_dir()), None)
        return cls(f"{path} cannot be written: {f'{blocked} is no folder' if blocked else error.strerror}", hint=hint)


class MachineError(ImagebuilderError):
    """The machine could not be started or talked to."""


class NotReady(MachineError):
    """The instance did not get ready within its time."""

    exit_status = 1


class GuestFailed(MachineError):
    """The guest said, or showed, that it failed."""

    exit_status = 1
