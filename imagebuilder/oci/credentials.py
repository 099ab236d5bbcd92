"""Who we are to a registry: what ``docker login``, ``podman login`` and ``skopeo login`` keep, and credential helpers.

Files are those of containers-auth.json(5) and Docker's ``config.json``; a helper speaks the protocol of
github.com/docker/docker-credential-helpers. No message has a word of their contents.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagebuilder import documents, paths, process
from imagebuilder.errors import InputError, SourceError, ToolFailed
from imagebuilder.oci.failures import LOG_IN_AGAIN
from imagebuilder.oci.reference import DOCKER_HUB
from imagebuilder.words import shortened

HELPER_S = 30.0
HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
MOST_BYTES = 64 << 10  # of one secret
NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password; or a token: that of an identity is exchanged at the token server, that of a registry is
    shown as it is. ``file`` is where they come from."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    file: Path = Path()

    @property
    def basic(self) -> str:
        """User and password as the value of an Authorization header."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        every = (self.password, self.identity_token, self.registry_token)
        return tuple(each for each in (*every, self.basic.removeprefix("Basic ")) if len(each) > 3)


def find(host: str, name: str) -> Credentials | None:
    """Those for a repository at a registry, of the first file that has some. Raises InputError for a file that cannot
    be read, SourceError or MachineLacks for a helper that does not help."""
    for path in files():
        if (document := _read(path)) is not None and (found := _in_file(document, path, host, name)):
            return replace(found, file=path)
    return None


def files() -> Iterator[Path]:
    """Where credentials may be: the file that ``$REGISTRY_AUTH_FILE`` names alone, else those of containers, then
    Docker's."""
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        yield Path(named)
        return
    own = paths.home()
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    configured = os.environ.get("XDG_CONFIG_HOME")
    if configured or own:
        yield (Path(configured) if configured else Path(own or "") / ".config") / "containers" / "auth.json"
    docker = os.environ.get("DOCKER_CONFIG")
    if docker or own:
        yield (Path(docker) if docker else Path(own or "") / ".docker") / "config.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    """The document in a file; nothing where there is none."""
    try:
        document = documents.load_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=LOG_IN_AGAIN) from None
    except documents.Damaged:  # its words may be of a secret
        raise InputError(f"{path} cannot be read: it is no JSON as docker login writes it", hint=LOG_IN_AGAIN) from None
    if not isinstance(document, dict):
        raise InputError(f"{path} cannot be read: it is no JSON as docker login writes it", hint=LOG_IN_AGAIN)
    return document


def _in_file(document: Mapping[str, Any], path: Path, host: str, name: str) -> Credentials | None:
    """A helper for this registry, else what the file itself has, else the helper for all."""
    helpers, entries = (_table(document.get(key)) for key in ("credHelpers", "auths"))
    names = {_host_of(key): helper for key, helper in helpers.items()}
    if helper := names.get(host):
        return _from_helper(helper, path, host)
    for key in _keys(host, name):
        matching = (entry for written, entry in entries.items() if _normal(written) == key)
        for entry in matching:
            if found := _from_entry(_table(entry), path, key):
                return found
    return _from_helper(document["credsStore"], path, host) if document.get("credsStore") else None


def _keys(host: str, name: str) -> Iterator[str]:
    """What an entry may be called, the closest first: ``host/team/app``, ``host/team``, ``host``."""
    parts = name.split("/")
    yield from ("/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1))
    yield host


def _normal(key: str) -> str:
    """How an entry is called, without what Docker put around a host in earlier times: ``https://HOST/v1/``."""
    host, slash, rest = key.partition("/")
    return _host_of(key) if "://" in key else f"{_host_of(host)}{slash}{rest}".rstrip("/")


def _host_of(key: str) -> str:
    host = key.split("://", 1)[-1].split("/", 1)[0]
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host


def _from_entry(entry: Mapping[str, Any], path: Path, key: str) -> Credentials | None:
    texts = {
        name: _text(entry.get(name)) for name in ("auth", "username", "password", "identitytoken", "registrytoken")
    }
    user, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            decoded = base64.b64decode(texts["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            decoded = ""
        user, colon, password = decoded.rstrip("\x00").partition(":")
        if not colon:
            raise InputError(f'{path}: "auth" of {shortened(key)} is no user and password', hint=LOG_IN_AGAIN) from None
    found = Credentials(user, password, texts["identitytoken"], texts["registrytoken"])
    return found if found != Credentials() else None


def _from_helper(helper: Any, path: Path, host: str) -> Credentials | None:
    """Ask a program of the user's, in his own environment: it may need his session's keyring, or names of profiles."""
    if not isinstance(helper, str) or not HELPER_NAME.fullmatch(helper):
        raise InputError(f"{path}: the credential helper for {host} has no name that a program has")
    program = f"docker-credential-{helper}"
    server = DOCKER_HUB_KEY if host == DOCKER_HUB else host
    try:
        printed = process.run([program, "get"], env=dict(os.environ), stdin=server.encode(), timeout_s=HELPER_S)
    except ToolFailed as error:
        if NOT_FOUND in error.stdout.lower():
            return None
        raise SourceError(f"{program}, which {path} names, gives no credentials for {host}: it {error.how}") from None
    try:
        document = _table(documents.json_of(printed.stdout))
    except documents.Damaged:
        document = {}
    user, secret = _text(document.get("Username")), _text(document.get("Secret"))
    if not secret:
        raise SourceError(f"{program}, which {path} names, gives no credentials for {host}: it printed something else")
    return Credentials(identity_token=secret) if user == "<token>" else Credentials(user, secret)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A text that a header can have; nothing else is a user or a secret."""
    fits = (
        isinstance(value, str) and len(value) <= MOST_BYTES and not re.search(r"[\x00-\x1f\x7f]", value.rstrip("\x00"))
    )
    return value if fits else ""
