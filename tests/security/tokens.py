"""A token server: OpenID Connect's token endpoint over TLS, with a key of its own."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.contracts.certificates import Pair

ISSUER = "https://tokens.example"
AUDIENCE = "kafka"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

_STRANGER = rsa.generate_private_key(65537, 2048)


class TokenServer:
    """Gives tokens for `subject` to who shows the secret, or signs as `trusted` says.

    `claims` are changed in the next tokens, which another key signs where they say `forged`.
    """

    def __init__(self, folder: Path, pair: Pair, *, client: str, secret: str, subject: str) -> None:
        """`folder` gets the public keys, `jwks.json`."""
        self.claims: dict[str, Any] = {}
        self.asked: list[str] = []
        self.trusted: Path | None = None
        self._subject = subject
        self._basic = f"Basic {base64.b64encode(f'{client}:{secret}'.encode()).decode()}"
        self._key = rsa.generate_private_key(65537, 2048)
        self.keys = folder / "jwks.json"
        self.keys.write_text(json.dumps({"keys": [_public(self._key)]}))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = parse_qs(self.rfile.read(length).decode())
                status, answer = server.answer(form, self.headers.get("Authorization", ""))
                if self.path != "/token":
                    status, answer = 404, {"error": "not_found"}
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not in the tests' output."""

        return Handler

    def answer(self, form: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        grant = form["grant_type"][0]
        self.asked.append(grant)
        known = authorization == self._basic
        if grant == JWT_BEARER:
            known = self.trusted is not None and _signed(form["assertion"][0], self.trusted)
        if not known:
            return 401, {"error": "invalid_client", "error_description": "who are you?"}
        return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": 300}

    def token(self) -> str:
        """A signed one."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": self._subject, "iat": now, "exp": now + 300,
            **self.claims,
        }  # fmt: skip
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': 'one'})}.{_part(claims)}"
        key = _STRANGER if "forged" in self.claims else self._key
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_coded(signature)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _public(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    n, e = (_coded(i.to_bytes((i.bit_length() + 7) // 8)) for i in (numbers.n, numbers.e))
    return {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": n, "e": e}


def _signed(assertion: str, public: Path) -> bool:
    """Is it signed by that key, for us, and not out of date?"""
    signed, _, signature = assertion.rpartition(".")
    claims = json.loads(_decoded(signed.partition(".")[2]))
    key = load_pem_public_key(public.read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return bool(claims["aud"] == ISSUER and claims["exp"] > time.time())


def _part(value: dict[str, Any]) -> str:
    return _coded(json.dumps(value).encode())


def _coded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
