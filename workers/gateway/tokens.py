"""JSON Web Tokens: signed by the issuer that the topology names, by algorithms that it lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import httpx2
import jwt

from workers.errors import TopologyError
from workers.gateway.notes import GatewayEvent, Say
from workers.gateway.problems import Kind, Problem
from workers.stream.clock import Clock
from workers.topology.gateway import Jwt

LEEWAY = 30
"""Seconds that clocks may differ."""
FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024
AGAIN = 10.0
"""Seconds between two looks for a key that is not there, however many bad tokens come."""


class JwtTokens:
    """Reads tokens; any thread may ask. Keys of a URL are fetched by whoever finds them old."""

    def __init__(self, settings: Jwt, clock: Clock, say: Say) -> None:
        """Read the keys of a file.

        Raises:
            TopologyError: they cannot be read.
        """
        self._settings = settings
        self._clock = clock
        self._say = say
        self._lock = threading.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        if settings.jwks_file is not None:
            try:
                self._keys = _keys(settings.jwks_file.read_bytes())
            except (OSError, ValueError, jwt.PyJWTError) as error:
                raise TopologyError(f"gateway.jwt.jwks_file: {type(error).__name__}") from error

    def subject(self, token: str) -> str:
        """See `Tokens`."""
        try:
            head = jwt.get_unverified_header(token)
            key = self._key(head.get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", self._settings.claim]},
            )
        except jwt.ExpiredSignatureError:
            raise Problem(Kind.UNAUTHENTICATED, "the token has expired: get a new one") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            why = f"the token does not count: {type(error).__name__}"
            raise Problem(Kind.UNAUTHENTICATED, why) from None
        return str(claims[self._settings.claim])

    def _key(self, kid: str | None) -> jwt.PyJWK:
        now = self._clock.monotonic()
        url = self._settings.jwks_url
        old = now - self._read_at > self._settings.refresh
        if url is not None and (old or kid not in self._keys):
            with self._lock:
                if now - self._tried_at > AGAIN:
                    self._tried_at = now
                    self._fetch(url, now)
        found = self._keys.get(kid)
        if found is None:
            raise jwt.InvalidKeyError("no such key")
        return found

    def _fetch(self, url: str, now: float) -> None:
        """Newer keys; those that are known stay where the issuer does not answer."""
        try:
            with httpx2.Client(timeout=FETCH_SECONDS, follow_redirects=False) as client:
                self._keys = _keys(_bounded(client, url))
            self._read_at = now
        except (httpx2.HTTPError, ValueError, jwt.PyJWTError) as error:
            self._say(GatewayEvent.JWKS_UNWELL, why=type(error).__name__)


def _bounded(client: httpx2.Client, url: str) -> bytes:
    found = bytearray()
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            found += chunk
            if len(found) > MAX_BYTES:
                raise ValueError("too many bytes of keys")
    return bytes(found)


def _keys(content: bytes) -> dict[str | None, jwt.PyJWK]:
    found = jwt.PyJWKSet.from_dict(json.loads(content))
    return {key.key_id: key for key in found.keys}


Subject = Callable[[str], str]
