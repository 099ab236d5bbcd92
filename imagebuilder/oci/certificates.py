"""Certificates for single registries, where Docker and Podman keep them: ``certs.d/HOST[:PORT]`` with ``*.crt`` (whose
certificates are believed besides the system's), and ``NAME.cert`` with ``NAME.key`` (what we show)."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from imagebuilder import paths
from imagebuilder.errors import InputError
from imagebuilder.oci.reference import HOST

FOLDERS = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


def context_for(host: str) -> ssl.SSLContext | None:
    """What TLS with this server needs besides; None where it needs nothing. Raises InputError for a file that is no
    certificate."""
    if not HOST.fullmatch(host):
        return None
    files = [path for folder in _folders() for path in _inside(folder / host)]
    files = [path for path in files if path.suffix in (".crt", ".cert")]
    if not files:
        return None
    context = ssl.create_default_context()
    for path in files:
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            else:
                context.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            why = "it is no certificate with its key" if isinstance(error, ssl.SSLError) else error.strerror
            raise InputError(f"{path} cannot be used for {host}: {why}") from None
    return context


def _folders() -> Iterator[Path]:
    named, own = os.environ.get("XDG_CONFIG_HOME"), paths.home()
    if named or own:
        yield (Path(named) if named else Path(own or "") / ".config") / "containers" / "certs.d"
    yield from FOLDERS


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
