"""A server that redirects in bad faith, over a real connection."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from imagebuilder.oci.failures import Failure
from imagebuilder.oci.transport import Client, Limits

CHUNK = b"x" * (1 << 20)
MOST_SENT = 32 << 20  # what the sockets on both sides may hold, and much more


class Server(HTTPServer):
    """Sends a redirect, and then a body that ends only when nobody takes it any more, or at ``most`` bytes."""

    location = "/end"
    most = 256 << 20
    sent = 0


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        if self.path == "/end":
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        self.send_response(302)
        self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(self.server.most))
        self.end_headers()
        try:
            while self.server.sent < self.server.most:
                self.wfile.write(CHUNK)
                self.server.sent += len(CHUNK)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asked(server: Server) -> bytes | None:
    client = Client(Limits())
    try:
        with client.get(f"http://127.0.0.1:{server.server_port}/begin", {}) as answer:
            return answer.body(1 << 10)
    finally:
        client.close()


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    assert asked(server) == b"{}"
    assert server.sent < MOST_SENT


def test_a_redirect_to_what_is_no_address(server: Server) -> None:
    server.location = "//["
    with pytest.raises(Failure, match="redirects to") as failed:
        asked(server)
    assert failed.value.message.isprintable() and server.sent < MOST_SENT
