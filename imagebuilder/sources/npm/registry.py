"""Where npm takes packages from on this machine: its configuration files say so, as npmrc(5) has them.

Nothing of it is kept: neither in the lockfile nor in an image. The certificates are those that ``requests`` trusts.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from imagebuilder import process
from imagebuilder.errors import SourceError, ToolFailed, ToolTimedOut
from imagebuilder.paths import home
from imagebuilder.sources.npm.lock import Wanted

GLOBAL = (Path("/etc/npmrc"), Path("/usr/etc/npmrc"))
MOST_BYTES = 1 << 20
NPM_S = 60  # it takes a second
VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Registry:
    """The configuration: keys as npm spells them."""

    values: Mapping[str, str] = field(default_factory=dict)

    def url(self, package: Wanted) -> str:
        """Where a package's tarball is: at the registry that is configured, unless the lock names a place that no
        registry has, or npm's ``replace-registry-host`` is ``never`` or another host; else where the lock says. Raises
        SourceError where neither says anything."""
        scope = package.name.partition("/")[0] if package.name.startswith("@") else ""
        registry = self.values.get(f"{scope}:registry") or self.values.get("registry")
        file = f"{package.name.rpartition('/')[2]}-{package.version}.tgz"
        tail = f"{quote(package.name, safe='@/~')}/-/{quote(file, safe='~')}"
        if registry and (package.resolved is None or self._replaces(package.resolved, tail)):
            return f"{registry.rstrip('/')}/{tail}"
        if package.resolved is None:
            said = f"where {package.name} is says neither package-lock.json nor the configuration of npm"
            raise SourceError(f"{said}: set npm_config_registry to the address of a registry")
        return package.resolved

    def _replaces(self, resolved: str, tail: str) -> bool:
        """Whether the configured registry stands for the one of the lock."""
        parts = urlsplit(resolved)
        host = self.values.get("replace-registry-host", "always")
        return parts.path.endswith(f"/{tail}") and host in ("always", "npmjs", parts.hostname)

    def headers(self, url: str) -> Mapping[str, str]:
        """What says to a server who asks: only to the one that the configuration names."""
        place = urlsplit(url)
        folders = f"//{place.netloc}{place.path}".split("/")
        for count in range(len(folders), 2, -1):
            where = "/".join(folders[:count])
            for key, kind in (("_authToken", "Bearer"), ("_auth", "Basic")):
                if value := self.values.get(f"{where}/:{key}") or self.values.get(f"{where}:{key}"):
                    return {"Authorization": f"{kind} {value}"}
        return {}


def configured(project: Path) -> Registry:
    """What this machine and the project say; the nearer goes before."""
    own = home()
    named = os.environ.get("NPM_CONFIG_USERCONFIG")
    user = Path(named) if named else own / ".npmrc" if own else None
    values: dict[str, str] = {}
    for path in (*GLOBAL, *([user] if user else []), project / ".npmrc"):
        values |= _parsed(_lines(path))
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            values["registry"] = os.environ[name]
    return Registry(values if values.get("registry") else _asked() | values)


def _asked() -> dict[str, str]:
    """The registry that npm itself has where no file names one; nothing where npm is not installed."""
    if process.find("npm") is None:
        return {}
    try:
        said = process.run(["npm", "config", "get", "registry"], timeout_s=NPM_S).text.strip()
    except (ToolFailed, ToolTimedOut):
        return {}
    return {"registry": said} if said.startswith(("https://", "http://")) else {}


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []


def _parsed(lines: Iterable[str]) -> dict[str, str]:
    """Keys and values; ``${NAME}`` is a variable of the environment."""
    pairs = (line.strip().partition("=") for line in lines if not line.lstrip().startswith((";", "#")))
    return {key.strip(): _filled(value.strip().strip("\"'")) for key, sign, value in pairs if sign}


def _filled(value: str) -> str:
    return VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
