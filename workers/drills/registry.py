"""A schema registry of the drill's own: it serves a catalogue, and can be stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from workers.contracts.catalogue import Registered

Answer = tuple[int, Any]
ABSENT: Answer = (404, {"error_code": 40403, "message": "Schema not found"})
NO_VERSION: Answer = (404, {"error_code": 40402, "message": "Version not found"})


class DrillRegistry:
    """Speaks what workers ask of Confluent's API, on a free port of 127.0.0.1."""

    def __init__(self, entries: Iterable[Registered]) -> None:
        """Listens at once."""
        self.entries = list(entries)
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def answer(self, path: str) -> Answer:
        """Status and document for a path."""
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["config"]:
                return 200, {"compatibilityLevel": "BACKWARD"}
            case ["schemas", "ids", number, *rest]:
                return self._by_id(int(number), places=bool(rest))
            case ["subjects", subject, "versions", *rest]:
                return self._of_subject(subject, rest)
            case _:
                return ABSENT

    def _by_id(self, number: int, *, places: bool) -> Answer:
        found = [entry for entry in self.entries if entry.id == number]
        if not found:
            return ABSENT
        if places:
            return 200, [{"subject": each.subject, "version": each.version} for each in found]
        return 200, {"schema": found[0].schema.text}

    def _of_subject(self, subject: str, rest: list[str]) -> Answer:
        versions = {each.version: each for each in self.entries if each.subject == subject}
        if not versions:
            return 404, {"error_code": 40401, "message": "Subject not found"}
        if not rest:
            return 200, list(versions)
        found = versions.get(max(versions) if rest[0] == "latest" else int(rest[0]))
        if found is None:
            return NO_VERSION
        said = {"subject": subject, "version": found.version, "id": found.id}
        return 200, {**said, "schema": found.schema.text}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    registry: DrillRegistry

    def do_GET(self) -> None:
        """Answer."""
        status, content = self.registry.answer(urlsplit(self.path).path)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""
