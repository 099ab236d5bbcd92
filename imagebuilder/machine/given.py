"""What the host has for one machine alone: variables, user data, secrets.

They go over the channel to init, before it starts anything: a command line is seen by everybody on the host (``ps``),
and none of the shipped kernels reads SMBIOS strings or fw_cfg. The names of files follow systemd's credentials
(systemd.exec(5), "Credentials"): ``/run/credentials/NAME``, and ``CREDENTIALS_DIRECTORY``.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.words import counted

PART_BYTES = 256  # of a file, in one line to init
ENVIRONMENT, USER_DATA = "environment", "user-data"
MOST_FILE_BYTES = 64 << 10  # init takes it line by line, before the programs go on
MOST_SECRETS = 16
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
START = "go"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """It is not shown: neither in a traceback nor in a report."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the application, in one line each."""
    user_data: bytes = field(default=b"", repr=False)
    """Written to ``/run/instance/user-data``."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Written to ``/run/credentials/NAME``, which the application's user alone reads."""

    def __post_init__(self) -> None:
        """Raises InputError for what a guest could not be given."""
        for name, value in self.environment.items():
            if not name or "=" in name or "\n" in name + value or "\0" in name + value:
                raise InputError(f"the variable {name!r} cannot be given to a machine: NAME=VALUE in one line")
        if strange := [name for name, value in self.environment.items() if not _is_text(name + value)]:
            raise InputError(f"the variable {strange[0]!r} cannot be given to a machine: it is no text in UTF-8")
        if unfit := [name for name in self.secrets if not SECRET.fullmatch(name)]:
            raise InputError(f"{unfit[0]!r} is no name of a secret: letters, digits, '.', '_' and '-', at most 64")
        if len(self.secrets) > MOST_SECRETS:
            raise InputError(f"{counted(len(self.secrets), 'secret')} are too many: {MOST_SECRETS} can be given")
        sizes = [("the environment", len(self._lines)), ("the user data", len(self.user_data))]
        for what, size in [*sizes, *((f"the secret {name}", len(value)) for name, value in self.secrets.items())]:
            if size > MOST_FILE_BYTES:
                raise InputError(
                    f"{what} of a machine has {counted(size, 'byte')}, and at most {MOST_FILE_BYTES:,} can be given"
                )

    def __bool__(self) -> bool:
        return bool(self.environment or self.user_data or self.secrets)

    @property
    def _lines(self) -> bytes:
        return "".join(f"{name}={value}\n" for name, value in self.environment.items()).encode()

    def words(self) -> Iterator[str]:
        """What is sent to init, line by line."""
        for name, content in ((ENVIRONMENT, self._lines), (USER_DATA, self.user_data)):
            yield from _parts(f"file {name}", content) if content else ()
        for name, content in self.secrets.items():
            yield from _parts(f"secret {name}", content)


def _is_text(text: str) -> bool:
    """Whether it can be written: a word of a command line may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parts(order: str, content: bytes) -> Iterator[str]:
    for begin in range(0, max(len(content), 1), PART_BYTES):
        yield f"{order} {content[begin : begin + PART_BYTES].hex()}"


def check_secrets(name: str, needed: Collection[str], given: Given | None, *, kept: bool = False) -> None:
    """Raise InputError where a secret that the application needs is not given; a machine that is ``kept`` as a template
    gets none."""
    missing = [each for each in needed if given is None or each not in given.secrets]
    if missing and kept:
        hint = f"start it cold: imagebuilder run {name} --secret {missing[0]}=FILE"
        raise InputError(f"{name} needs the secret {missing[0]}, which a template of it would keep", hint=hint)
    if missing:
        hint = f"imagebuilder run {name} --secret {missing[0]}=FILE; test takes it too"
        raise InputError(f"{name} needs the secret {missing[0]}, and it was not given", hint=hint)


def read_environment(path: Path) -> dict[str, str]:
    """The variables of a file: a line ``NAME=VALUE`` each, empty ones and those that begin with ``#`` left out. Raises
    InputError."""
    found = {}
    try:
        text = _read(path, f"the file {path}").decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        name, equals, value = line.strip("\r").partition("=")
        if not line.strip() or line.startswith("#"):
            continue
        if not equals or not VARIABLE.fullmatch(name):
            raise InputError(f"{path}, line {number}, is not NAME=VALUE")
        found[name] = value
    return found


def read_secrets(files: Mapping[str, Path]) -> dict[str, bytes]:
    """The secrets that the files hold. Raises InputError."""
    return {name: _read(path, f"the secret {name}") for name, path in files.items()}


def given_by(environment: Iterable[str], env_file: str | None, secrets: Iterable[str], folder: Path) -> Given:
    """What words ``NAME=VALUE`` and ``NAME=FILE`` ask for, and a file of variables; paths begin in ``folder``. Raises
    InputError."""
    variables = read_environment(folder / env_file) if env_file else {}
    for word in environment:
        name, equals, value = word.partition("=")
        if not equals or not VARIABLE.fullmatch(name):
            raise InputError(f"the variable {name!r} is not NAME=VALUE")
        variables[name] = value
    files = (word.partition("=") for word in secrets)
    return Given(variables, secrets=read_secrets({name: folder / path for name, _, path in files}))


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{what} cannot be read from {path}: {error.strerror}") from error
    if len(content) > MOST_FILE_BYTES:
        raise InputError(f"{what} has more than {MOST_FILE_BYTES:,} bytes, and no more can be given")
    return content
