"""Says over HTTP which Python this is, and that its extension modules load."""

import hashlib
import json
import socket
import sqlite3
import ssl
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with one JSON document."""

    def do_GET(self) -> None:
        body = json.dumps(
            {
                "python": f"Python {sys.version.split()[0]}",
                "host": socket.gethostname(),
                "path": self.path,
                "sha256": hashlib.sha256(self.path.encode()).hexdigest(),
                "zlib": zlib.ZLIB_RUNTIME_VERSION,
                "openssl": ssl.OPENSSL_VERSION,
                "sqlite": sqlite3.sqlite_version,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Keep the console quiet."""


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
