"""What goes wrong between a registry and us, in sentences. No sentence has what is behind the ``?`` of an address, a
header that we sent, or a word of a credentials file."""

import errno
import json
import ssl
from collections.abc import Iterator

from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from imagebuilder.errors import SourceError
from imagebuilder.words import shortened

TRY_LATER = "try again later"
LOG_IN = "docker login, podman login or skopeo login with {} keeps a user and a password where imagebuilder finds them"
LOG_IN_AGAIN = "docker login, podman login or skopeo login writes it again"
CHECK_NETWORK = "check the name, the network, and the proxy if there is one"
CERTIFICATE = "a certificate authority of your own belongs into /etc/containers/certs.d/{}/ca.crt"
TLS_OR_NONE = "without TLS a registry is asked on this machine alone: 127.0.0.1, localhost or [::1]"


class Failure(SourceError):
    """A registry did not do what it was asked. ``again``: the same may work a little later. ``unreached``: there was no
    connection, so that another mirror may do. ``wait_s``: how long the server asks to wait, if it does."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        again: bool = False,
        unreached: bool = False,
        status: int = 0,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.again = again
        self.unreached = unreached
        self.status = status
        self.wait_s = wait_s


def of_exception(error: BaseException, host: str, *, late_s: float | None = None) -> Failure:
    """For what a library raised while a server was asked; ``late_s``: our own deadline had passed."""
    if late_s is not None:
        return Failure(f"{host} does not go on: it took longer than {late_s:g} s", hint=TRY_LATER, again=True)
    causes = list(_causes(error))
    kinds = tuple(type(each) for each in causes)
    for each in causes:
        if isinstance(each, ssl.SSLError):
            return _of_tls(each, host)
    if any(issubclass(kind, urllib3_errors.NameResolutionError) for kind in kinds):
        return Failure(f"{host} is not known: no address has this name", hint=CHECK_NETWORK, unreached=True)
    if any(issubclass(kind, requests_errors.ProxyError | urllib3_errors.ProxyError) for kind in kinds):
        return Failure(f"{host} cannot be reached through the proxy", hint=CHECK_NETWORK, unreached=True)
    found = next((each for each in causes if isinstance(each, OSError) and each.errno in errno.errorcode), None)
    if any(issubclass(kind, urllib3_errors.NewConnectionError) for kind in kinds):
        why = found.strerror.lower() if found and found.strerror else "no connection"
        return Failure(f"{host} cannot be reached: {why}", hint=CHECK_NETWORK, unreached=True)
    if any(issubclass(kind, requests_errors.ConnectTimeout | urllib3_errors.ConnectTimeoutError) for kind in kinds):
        return Failure(f"{host} cannot be reached: it does not answer", hint=CHECK_NETWORK, unreached=True)
    if any(issubclass(kind, TimeoutError | requests_errors.Timeout | urllib3_errors.TimeoutError) for kind in kinds):
        return Failure(f"{host} does not go on: nothing came in time", hint=TRY_LATER, again=True)
    why = found.strerror.lower() if found and found.strerror else "what it says is no HTTP, or is cut off"
    return Failure(f"the connection to {host} broke: {why}", hint=TRY_LATER, again=True)


def _of_tls(error: ssl.SSLError, host: str) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = shortened(error.verify_message, 120)
        return Failure(
            f"{host} has a certificate that is not believed: {why}", hint=CERTIFICATE.format(host), unreached=True
        )
    why = shortened((error.reason or "no TLS").replace("_", " ").lower())
    return Failure(f"{host} cannot be asked by TLS: {why}", hint=TLS_OR_NONE, unreached=True)


def of_status(status: int, host: str, repository: str, *, wait_s: float | None = None, said: str = "") -> Failure:
    """For an answer that is none; ``said`` is the server's own reason, for a sentence."""
    why = f" ({said})" if said else ""
    if status == 401:
        return Failure(f"reading {repository} from {host} needs a login{why}", hint=LOG_IN.format(host), status=status)
    if status == 403:
        return Failure(f"{host} does not let this user read {repository}{why}", hint=LOG_IN.format(host), status=status)
    if status == 404:
        return Failure(f"{host} has no {repository}, or hides it{why}", hint=LOG_IN.format(host), status=status)
    if status == 429:
        asked = f", and asks to wait {wait_s:,.0f} s" if wait_s else ""
        message = f"{host} has had too many requests{asked}{why}"
        return Failure(message, hint=TRY_LATER, again=True, status=status, wait_s=wait_s)
    if status >= 500:
        message = f"{host} cannot answer now: HTTP status {status}{why}"
        return Failure(message, hint=TRY_LATER, again=True, status=status, wait_s=wait_s)
    return Failure(f"{host} answers with HTTP status {status}{why}", status=status)


def of_redirected(status: int, host: str, first: str) -> Failure:
    """For an answer that is none, of a server to which another one has sent us."""
    again = status == 429 or status >= 500
    hint = TRY_LATER if again else None
    return Failure(f"{host}, to which {first} redirects, answers with HTTP status {status}", hint=hint, again=again)


def said_in(body: bytes | None) -> tuple[str, str]:
    """Code and message of the first error of a registry's answer (distribution-spec, "Error Codes"); empty where it
    has none."""
    try:
        first = json.loads(body or b"")["errors"][0]
        code, message = first.get("code"), first.get("message")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return "", ""
    code, message = (each if isinstance(each, str) else "" for each in (code, message))
    return code[:40], shortened(message, 120)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it was made of: libraries put them into each other's arguments."""
    pending, seen = [error], set[int]()
    while pending and len(seen) < 50:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        pending.extend(one for one in inner if isinstance(one, BaseException))
