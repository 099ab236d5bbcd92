"""Every error that a user can cause or meet, each with one sentence that says what to do.

::

    ImagebuilderError            anything that imagebuilder itself reports
    ├── InputError               the user's files or words are wrong
    │   ├── RecipeError          a recipe (all its problems at once)
    │   ├── KernelError          a kernel definition, or a kernel that is not there
    │   ├── NotExecutable        a program whose mode does not let us run it
    │   ├── SourceError          what a source was asked for cannot be given
    │   └── ClosureError         a file that the application needs is not in the image
    ├── MachineLacks             this machine has not what was asked for
    │   ├── ToolMissing          another program is not installed
    │   └── KvmUnusable          no guest runs under KVM here
    ├── ToolFailed               another program ended with an error
    ├── CacheError               the store holds something else than it should
    ├── OutputError              the result cannot be written (disk full, no permission)
    └── MachineError             the machine could not be started or talked to
        ├── NotReady             the instance did not get ready within its time
        └── GuestFailed          the guest said, or showed, that it failed

Exit statuses: 1 an image did not do what was promised, 2 the input is wrong, 3 this machine lacks something. (4 is for
a comparison that is undecided; that is no error.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class ImagebuilderError(Exception):
    """A sentence that says what is wrong and what to do, and a hint where one helps."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence: Mapping[str, str] = {}
        """What there is to see of it besides, as files: their names and contents."""

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


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
        return f"{place}: {self.key}: {self.message}{hint}" if self.key else f"{place}: {self.message}{hint}"


class InputError(ImagebuilderError):
    """The user's files or words are wrong."""


class RecipeError(InputError):
    """A recipe, or another file of ours, has mistakes: all of them, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class KernelError(InputError):
    """A kernel definition is wrong, or the kernel is not there."""


class NotExecutable(InputError):
    """A program is there, and its mode does not let anybody execute it."""


class SourceError(InputError):
    """What a source was asked for cannot be given."""


class ClosureError(InputError):
    """A file that the application needs is not in the image."""


class MachineLacks(ImagebuilderError):
    """This machine has not what was asked for: nothing is wrong with the image or the recipe."""

    exit_status = 3


class KvmUnusable(MachineLacks):
    """KVM was asked for, and no guest runs under it here."""


class ToolMissing(MachineLacks):
    """Another program is not installed; the hint is the command that installs it."""


class ToolFailed(ImagebuilderError):
    """Another program ended with an error. ``stderr`` is the end of what it said."""

    def __init__(self, message: str, *, status: int, stderr: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.stderr = stderr


class CacheError(ImagebuilderError):
    """The store holds something else than it should."""


class OutputError(ImagebuilderError):
    """The result cannot be written."""


class MachineError(ImagebuilderError):
    """The machine could not be started or talked to."""


class NotReady(MachineError):
    """The instance did not get ready within its time."""

    exit_status = 1


class GuestFailed(MachineError):
    """The guest said, or showed, that it failed."""

    exit_status = 1
