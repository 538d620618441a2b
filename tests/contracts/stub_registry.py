"""A schema registry over real HTTP whose moods a test chooses."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

JSON_TYPE = "application/vnd.schemaregistry.v1+json"
PRIVATE = "the-body-is-private"


def record(name: str, *fields: str) -> str:
    """An Avro record of strings."""
    listed = [{"name": field, "type": "string"} for field in fields]
    return json.dumps({"type": "record", "name": name, "fields": listed})


@dataclass(frozen=True, slots=True)
class Entry:
    """A version."""

    id: int
    text: str
    kind: str | None = None
    references: tuple[dict[str, Any], ...] = ()
    guid: str | None = None

    def answer(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"schema": self.text, **more}
        if self.kind is not None:
            found["schemaType"] = self.kind
        if self.references:
            found["references"] = list(self.references)
        if self.guid is not None:
            found["guid"] = self.guid
        return found


Mood = Callable[["_Handler"], None]
Asked = tuple[str, str, dict[str, str]]


class StubRegistry:
    """Serves `subjects` on a free port; `mood` replaces the answer, None is well."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.subjects: dict[str, dict[int, Entry]] = {}
        self.mood: Mood | None = None
        self.asked: list[Asked] = []
        self.sent = 0
        self.released = threading.Event()
        self.stuck = threading.Event()
        self._tls = tls
        self._port = 0
        self._server: _Server | None = None
        self._open()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def paths(self) -> list[str]:
        """Paths that were asked for, queries left out."""
        return [path.partition("?")[0] for _, path, _ in self.asked]

    def add(self, subject: str, version: int, entry: Entry) -> None:
        self.subjects.setdefault(subject, {})[version] = entry

    def stop(self) -> None:
        """Nobody listens."""
        if self._server is not None:
            self.released.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def restart(self) -> None:
        """Listen again, on the same port."""
        self.stop()
        self.released.clear()
        self._open()

    def _open(self) -> None:
        handler = type("Handler", (_Handler,), {"stub": self})
        server = _Server(("127.0.0.1", self._port), handler)
        self._port = server.server_address[1]
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    stub: StubRegistry

    def do_GET(self) -> None:
        self.stub.asked.append((self.command, self.path, dict(self.headers.items())))
        if self.stub.mood is not None:
            self.stub.mood(self)
        else:
            self.well()

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def well(self) -> None:
        """The answer of a registry that is well."""
        parts = urlsplit(self.path)
        names = [unquote(part) for part in parts.path.strip("/").split("/")]
        status, content = _answer(self.stub.subjects, names, parse_qs(parts.query))
        self.reply(status, json.dumps(content).encode())

    def reply(self, status: int, body: bytes, kind: str = JSON_TYPE, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Content = tuple[int, Any]
ABSENT: Content = (404, {"error_code": 40403, "message": "Schema not found"})


def _answer(
    subjects: dict[str, dict[int, Entry]], names: list[str], query: dict[str, list[str]]
) -> Content:
    match names:
        case ["config"]:
            return 200, {"compatibilityLevel": "BACKWARD"}
        case ["schemas", "ids", number, *rest]:
            return _by_id(
                subjects, int(number), _context(query.get("subject", [""])[0]), places=bool(rest)
            )
        case ["schemas", "guids", guid, *rest]:
            return _by_guid(subjects, guid, ids=bool(rest))
        case ["subjects", subject, "versions", *rest]:
            return _by_subject(subjects.get(subject, {}), subject, rest)
        case _:
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}


def _context(subject: str) -> str:
    """`:.NAME:` of a qualified subject; empty where it is of the default context."""
    return ":".join(subject.split(":")[:2]) + ":" if subject.startswith(":.") else ""


def _by_id(
    subjects: dict[str, dict[int, Entry]], number: int, context: str, *, places: bool
) -> Content:
    found = [
        (subject, version, entry)
        for subject, versions in subjects.items()
        if subject.startswith(context) and subject.startswith(":.") == bool(context)
        for version, entry in versions.items()
        if entry.id == number
    ]
    if not found:
        return ABSENT
    if places:
        return 200, [{"subject": name, "version": version} for name, version, _ in found]
    return 200, found[0][2].answer()


def _by_guid(subjects: dict[str, dict[int, Entry]], guid: str, *, ids: bool) -> Content:
    entries = [e for versions in subjects.values() for e in versions.values() if e.guid == guid]
    if not entries:
        return ABSENT
    return 200, [{"context": ".", "id": entries[0].id}] if ids else entries[0].answer()


def _by_subject(versions: dict[int, Entry], subject: str, rest: list[str]) -> Content:
    if not versions:
        return 404, {"error_code": 40401, "message": "Subject not found"}
    if not rest:
        return 200, list(versions)
    number = max(versions) if rest[0] == "latest" else int(rest[0])
    entry = versions.get(number)
    if entry is None:
        return 404, {"error_code": 40402, "message": "Version not found"}
    return 200, entry.answer(id=entry.id, subject=subject, version=number)


def status(code: int) -> Mood:
    """That status, with a body that no log may show."""
    return lambda handler: handler.reply(code, json.dumps({"message": PRIVATE}).encode())


def denying(handler: _Handler) -> None:
    """A registry that lost everything."""
    handler.reply(404, b'{"error_code": 40403, "message": "Schema not found"}')


def html(handler: _Handler) -> None:
    handler.reply(200, f"<html>{PRIVATE}</html>".encode(), "text/html")


def html_as_json(handler: _Handler) -> None:
    handler.reply(200, f"<html>{PRIVATE}</html>".encode())


def bad_json(handler: _Handler) -> None:
    handler.reply(200, f'{{"schema": "{PRIVATE}'.encode())


def other_json(handler: _Handler) -> None:
    handler.reply(200, json.dumps({"schema": {PRIVATE: 1}}).encode())


def blackhole(handler: _Handler) -> None:
    """The request is taken, and nothing comes."""
    handler.stub.stuck.set()
    handler.stub.released.wait()


def drip_headers(handler: _Handler) -> None:
    _drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ")


def drip_body(handler: _Handler) -> None:
    _drip(handler, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")


def _drip(handler: _Handler, beginning: bytes) -> None:
    handler.wfile.write(beginning)
    handler.stub.stuck.set()
    while not handler.stub.released.wait(0.02):
        handler.wfile.write(b" ")


def gzipped(handler: _Handler) -> None:
    handler.reply(200, b"\x1f\x8b" + bytes(100), Content_Encoding="gzip")


def gigabyte(handler: _Handler) -> None:
    """A body that is made as it is read."""
    handler.send_response(200)
    handler.send_header("Content-Type", JSON_TYPE)
    handler.send_header("Content-Length", str(1024**3))
    handler.end_headers()
    for _ in range(1024**3 // 65536):
        handler.wfile.write(bytes(65536))
        handler.stub.sent += 65536


def redirect(target: str) -> Mood:
    return lambda handler: handler.reply(302, b"", Location=f"{target}/elsewhere?token=hidden")
