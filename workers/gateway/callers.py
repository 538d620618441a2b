"""Who asks, and what that caller may."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from workers.gateway.problems import Kind, Problem
from workers.topology.gateway import Caller, Gateway, Proxies, Role

KEY_HEADER = "x-api-key"
PREFIX = "wk_"
Headers = Mapping[str, str]


def new_key() -> tuple[str, str]:
    """A key for a caller, and the hash for the topology: the key itself is kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hashed(key)


def hashed(key: str) -> str:
    """A key of 256 random bits needs no slow hash: there is nothing to guess (NIST SP 800-63B,
    5.1.2, of look-up secrets).
    """
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


class Tokens(Protocol):
    """Reads JSON Web Tokens."""

    def subject(self, token: str) -> str:
        """Whose it is.

        Raises:
            Problem: it does not count.
        """
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """A caller who is known, and how."""

    name: str
    by: str
    workers: frozenset[str]
    accepts: frozenset[str] | None
    returns: frozenset[str] | None
    roles: frozenset[Role]
    rate: RateLimitItem | None = field(default=None, compare=False)

    def may_ask(self, worker: str) -> None:
        """Hold it to its workers.

        Raises:
            Problem: it may not.
        """
        if "*" not in self.workers and worker not in self.workers:
            raise Problem(Kind.FORBIDDEN, f"{self.name} may not ask worker {worker}")

    def must_be(self, role: Role) -> None:
        """Hold it to its roles.

        Raises:
            Problem: it has not that one.
        """
        if role not in self.roles:
            raise Problem(Kind.FORBIDDEN, f"{self.name} has not the role {role.value}")


class Callers:
    """Finds out who asks."""

    def __init__(self, gateway: Gateway, tokens: Tokens | None) -> None:
        self._by_key: dict[str, Known] = {}
        self._by_subject: dict[str, Known] = {}
        for name, caller in gateway.callers.items():
            known = _known(name, caller)
            self._by_key |= dict.fromkeys(caller.keys, known)
            self._by_subject |= dict.fromkeys(caller.subjects, known)
        self._tokens = tokens
        self._proxies = gateway.proxies
        anonymous = gateway.anonymous
        self._anonymous = (
            None if anonymous is None else _known(anonymous, gateway.callers[anonymous])
        )
        self.limited = Counter[str]()
        """Requests over their rate, by the caller's name."""
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    @property
    def waits(self) -> bool:
        """May finding out take long, as reading the issuer's keys does?"""
        return self._tokens is not None

    def who(self, headers: Headers, address: str | None) -> Known:
        """The caller of these credentials; exactly one kind counts.

        Raises:
            Problem: there are none, or they do not count.
        """
        if (key := headers.get(KEY_HEADER)) is not None:
            # Looked up by its hash: how long that takes says nothing about the key.
            found = self._by_key.get(hashed(key))
        elif (token := _bearer(headers.get("authorization"))) is not None:
            if self._tokens is None:
                raise _unknown("tokens are not accepted here")
            found = self._by_subject.get(self._tokens.subject(token))
        elif self._proxies is not None and _is_proxy(self._proxies, address):
            said = headers.get(self._proxies.header.lower())
            found = self._anonymous if said is None else self._by_subject.get(said)
        else:
            found = self._anonymous
            if found is None:
                raise _unknown(f"send {KEY_HEADER} or a bearer token")
        if found is None:
            raise _unknown("these credentials are nobody's")
        return found

    def count(self, caller: Known, events: int) -> None:
        """Hold it to its rate; each process counts for itself.

        Raises:
            Problem: it asks too much.
        """
        if caller.rate is None or not events:
            return
        if not self._limiter.hit(caller.rate, caller.name, cost=events):
            self.limited[caller.name] += 1
            window = self._limiter.get_window_stats(caller.rate, caller.name)
            wait = window.reset_time - _now()
            raise Problem(
                Kind.RATE, f"{caller.name} may ask {caller.rate} of events", retry_after=wait
            )


def _now() -> float:
    """Wall clock, which the rate limiter's windows go by."""
    return time.time()


def _known(name: str, caller: Caller) -> Known:
    return Known(
        name=name,
        by="topology",
        workers=frozenset(caller.workers),
        accepts=_set(caller.accepts),
        returns=_set(caller.returns),
        roles=frozenset(caller.roles),
        rate=None if caller.rate is None else parse(caller.rate),
    )


def _set(names: Collection[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_proxy(proxies: Proxies, address: str | None) -> bool:
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    return any(found in network for network in proxies.addresses)


def _unknown(why: str) -> Problem:
    return Problem(Kind.UNAUTHENTICATED, why)
