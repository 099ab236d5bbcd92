"""How a registry is convinced that we may read: what it asks for once it has refused, and the token of a token server.

The flow of distribution (distribution/docs/spec/auth/token.md, oauth.md): a Bearer challenge names a server, which
gives a token for a user and a password, for an identity token, or without either. Credentials are looked for only when
a registry asks for them.
"""

import threading
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from imagebuilder import documents
from imagebuilder.oci import credentials
from imagebuilder.oci.challenge import Challenge, parse
from imagebuilder.oci.credentials import Credentials
from imagebuilder.oci.failures import LOG_IN_AGAIN, Failure, of_status, said_in
from imagebuilder.oci.reference import is_loopback
from imagebuilder.oci.transport import Client

MOST_ANSWER_BYTES = 256 << 10
MOST_TOKEN_CHARACTERS = 64 << 10
HIDDEN = "***"


class Authorization:
    """The Authorization header for one repository at one server; threads share it."""

    def __init__(self, client: Client, host: str, name: str) -> None:
        self._client = client
        self._host = host
        self._name = name
        self._lock = threading.Lock()
        self._header: str | None = None
        self._credentials: Credentials | None = None
        self._looked = False

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with a request."""
        return {"Authorization": self._header} if self._header else {}

    def convince(self, challenge: str, refused: Mapping[str, str]) -> bool:
        """Do as a server asks that refused these headers; False when nothing else is known to do. Raises Failure."""
        with self._lock:
            if refused.get("Authorization") != self._header:
                return True  # another thread was faster
            before = self._header
            self._header = self._answer(parse(challenge))
            return self._header is not None and self._header != before

    @property
    def who(self) -> str:
        """What was shown, in words; empty where nothing was."""
        return f"the credentials of {self._credentials.file}" if self._credentials else ""

    def hidden(self, text: str) -> str:
        """A text of a server without what we sent it."""
        sent = self._header.partition(" ")[2] if self._header else ""
        for secret in (sent, *(self._credentials.secrets if self._credentials else ())):
            text = text.replace(secret, HIDDEN) if secret else text
        return text

    def _answer(self, challenges: tuple[Challenge, ...]) -> str | None:
        known = {each.scheme: each for each in reversed(challenges)}
        if "bearer" in known:
            return self._bearer(known["bearer"].parameters)
        found = self._found()
        if "basic" in known and found is not None and found.password:
            return found.basic
        if not known:
            raise Failure(f"{self._host} asks to log in, and does not say how", status=401)
        if not known.keys() & {"basic", "bearer"}:
            raise Failure(f"{self._host} asks to log in in a way that is not known here: neither Basic nor Bearer")
        return None

    def _found(self) -> Credentials | None:
        if not self._looked:
            self._credentials = credentials.find(self._host, self._name)
            self._looked = True
        return self._credentials

    def _bearer(self, parameters: Mapping[str, str]) -> str:
        found = self._found()
        if found is not None and found.registry_token:
            return f"Bearer {found.registry_token}"
        realm = parameters.get("realm", "")
        self._check_realm(realm)
        scope = parameters.get("scope") or f"repository:{self._name}:pull"
        asked = {"service": parameters["service"]} if parameters.get("service") else {}
        asked |= {"scope": scope}
        if found is not None and found.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": found.identity_token, "client_id": "imagebuilder"}
            return f"Bearer {self._token(realm, {}, {**asked, **form})}"
        headers = {"Authorization": found.basic} if found is not None and found.password else {}
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(asked)}"
        return f"Bearer {self._token(url, headers, None)}"

    def _check_realm(self, realm: str) -> None:
        """Raises Failure for a token server that is asked without TLS, or stands on this machine for a registry that
        does not."""
        try:
            parts = urlsplit(realm)
            near = is_loopback(parts.netloc)
            fits = parts.scheme == "https" or (parts.scheme == "http" and near)
        except ValueError:
            fits = near = False
        if not fits or "#" in realm or (near and not is_loopback(self._host)):
            raise Failure(f"{self._host} names a token server that is not asked: its address is no https://")

    def _token(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> str:
        with self._client.get(url, headers, form=form) as answer:
            body = answer.body(MOST_ANSWER_BYTES)
        host = urlsplit(url).netloc
        if answer.status != 200:
            said = self.hidden(said_in(body)[1])
            if answer.status == 401 and self.who:
                raise Failure(f"{host} does not accept {self.who} for {self._host}", hint=LOG_IN_AGAIN, status=401)
            raise of_status(answer.status, host, f"{self._host}/{self._name}", said=said)
        try:
            document = documents.json_of(body or b"")
        except documents.Damaged:
            document = None
        given = document if isinstance(document, dict) else {}
        token = given.get("token") or given.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise Failure(f"{host}, the token server of {self._host}, gives no token")
        if len(token) > MOST_TOKEN_CHARACTERS:
            raise Failure(f"{host}, the token server of {self._host}, gives a token of more than 64 KiB")
        return token
