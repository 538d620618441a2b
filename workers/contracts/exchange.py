"""One HTTP request with an end: a deadline for all of it, a limit to the answer, no redirects.

A client's own timeouts hold for each read, so a server that drips one byte a second keeps it for
ever, and nothing bounds a name look-up. Here the request runs on a thread of its own; at the
deadline its caller goes on and its socket is shut, which ends the thread too.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from workers.errors import ContractError, Retry
from workers.topology.security import Tls

MAX_GIVEN_UP = 4
"""Requests past their deadline whose threads have not ended yet: name look-ups, mostly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whole. `location` is where a redirect points to, without its query."""

    status: int
    body: bytes
    content_type: str = ""
    location: str = ""


class TooLarge(Retry):
    """The answer is larger than what was asked for."""


def tls_context(tls: Tls | None, where: str = "contracts.registry") -> ssl.SSLContext:
    """Whom we trust, and our own certificate; `where` the topology says so.

    Raises:
        ContractError: a file cannot be loaded, or the key's password is wrong.
    """
    if tls is None:
        return httpx2.create_ssl_context()
    secret = tls.key_password.get_secret_value() if tls.key_password else ""
    try:
        context = (
            ssl.create_default_context(cafile=str(tls.ca))
            if tls.ca
            else httpx2.create_ssl_context()
        )
        if tls.certificate is not None:
            # A function, because OpenSSL asks the terminal where a password is missing.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: secret)
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{where}.tls: ca, certificate or key cannot be loaded: {_reason(error)}"
        ) from error
    context.check_hostname = tls.verify_hostname
    return context


Room = tuple[float, int]
"""Seconds for a request, and bytes of its answer at most."""


class Http:
    """Sends one request after the other; each ends within `timeout` seconds.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Connections are not kept, so that
    a restarted server, a rotated credential and a deadline never meet an old connection.
    """

    def __init__(self, tls: ssl.SSLContext, *, timeout: float, max_bytes: int) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._client = httpx2.Client(
            verify=tls,
            follow_redirects=False,
            timeout=timeout,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self._turn = threading.Lock()
        self._running: set[_Exchange] = set()
        self._closed = False

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        room: Room | None = None,
    ) -> Answer:
        """The answer, whatever its status; `room` takes the place of the client's own.

        Raises:
            Retry: there is none, it came too late, is too large or encoded; says which.
        """
        timeout, max_bytes = (self._timeout, self._max_bytes) if room is None else room
        with self._turn:
            running = {exchange for exchange in self._running if not exchange.done.is_set()}
            if len(running) >= MAX_GIVEN_UP:
                raise Retry("earlier requests still hang in their name look-ups")
            request = self._client.build_request(
                method, url, headers={"Accept-Encoding": "identity", **headers}, content=content
            )
            exchange = _Exchange(self._client, request, max_bytes)
            # In this order, and `close` in the other: one of the two sees what the other did.
            self._running = {*running, exchange}
            if self._closed:
                raise Retry("the client is closed")
            threading.Thread(target=exchange.run, name="registry-request", daemon=True).start()
            if not exchange.done.wait(timeout):
                exchange.give_up()
                raise Retry(f"no whole answer within {timeout:g} s")
            return exchange.result()

    def close(self) -> None:
        """End the request under way, if any; later ones are refused."""
        self._closed = True
        for exchange in self._running:
            exchange.give_up()
            # Its thread owns the socket until it ends; a name look-up is not waited for.
            exchange.done.wait(1.0)
        self._client.close()


class _Exchange:
    def __init__(self, client: httpx2.Client, request: httpx2.Request, max_bytes: int) -> None:
        self._client = client
        self._request = request
        self._request.extensions = {**request.extensions, "trace": self._watch}
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Send, and read the answer; the result is there when `done` is set."""
        try:
            response = self._client.send(self._request, stream=True)
            with contextlib.closing(response):
                self._answer = self._read(response)
        except Exception as error:  # noqa: BLE001  handed to the caller by `result`
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Answer:
        """The answer.

        Raises:
            Retry: there is none.
        """
        if self._answer is not None:
            return self._answer
        assert self._error is not None  # noqa: S101  one of the two is set before `done`
        if isinstance(self._error, Retry):
            raise self._error
        raise Retry(_cause(self._error)) from None

    def give_up(self) -> None:
        """Shut the socket, so that whoever reads from it stops."""
        with self._lock:
            self._given_up = True
            self._shut()

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:
        # The trace events of httpcore2 ("Extensions: trace"): each new stream passes here.
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                found = info["return_value"].get_extra_info("socket")
                self._socket = found if isinstance(found, socket.socket) else self._socket
                if self._given_up:
                    self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not ssl's own, which would begin a farewell: the plain one ends a blocked read.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _read(self, response: httpx2.Response) -> Answer:
        headers = response.headers
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            # A few kilobytes of gzip unfold to gigabytes; we asked for none.
            raise Retry("the answer is encoded, which was not asked for")
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise TooLarge(f"the answer is larger than {self._max_bytes} bytes")
        return Answer(
            status=response.status_code,
            body=bytes(body),
            content_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
            location=_without_query(headers.get("location", "")),
        )


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (httpx2.ConnectTimeout, "no connection in time"),
    (httpx2.ProxyError, "the proxy refuses"),
    (httpx2.TimeoutException, "no answer in time"),
    (httpx2.RemoteProtocolError, "it hung up, or what it speaks is not HTTP"),
    (httpx2.NetworkError, "the connection broke"),
)


def _cause(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectError):
        return f"no connection: {error}"
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text
    # Other texts may repeat headers, and so credentials.
    return f"the request failed ({type(error).__name__})"


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or "malformed"


def _without_query(location: str) -> str:
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
    except ValueError:
        return "somewhere malformed"
    return f"{parts.scheme}://{host}{parts.path}"[:200] if host else parts.path[:200]
