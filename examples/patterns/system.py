"""A system behind the proxy: it answers with what it was told of a decision.

    python -m examples.patterns.system 127.0.0.1 9000

It knows nothing of models: it looks at a header, and does without where there is none.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class System(BaseHTTPRequestHandler):
    """Takes bookings."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Book, and say what was known by then."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        decision = self.headers.get("X-Enrichment-Decision")
        told = {
            name.lower(): text
            for name, text in self.headers.items()
            if name.lower().startswith("x-enrichment-")
        }
        self._answer({"booked": True, "warn": decision == "late", "told": told})

    def do_GET(self) -> None:
        """It is there."""
        self._answer({"there": True})

    def _answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        """Nothing."""


def main() -> None:
    """Serve until somebody interrupts."""
    host, port = sys.argv[1:]
    ThreadingHTTPServer((host, int(port)), System).serve_forever()


if __name__ == "__main__":
    main()
