"""A client over HTTP that is not ours."""

import json
import urllib.error
import urllib.request


def asked(url: str, document: object = None) -> tuple[int, bytes]:
    """Status and body of an answer; ``document`` is sent as JSON."""
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
