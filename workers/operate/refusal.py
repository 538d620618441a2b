"""Why a broker and we do not come together: what the client says only in passing, with a remedy.

A question to a broker that refuses us ends like one that nobody answers. What happened comes by the
client's error callback, and what exactly is wrong with the broker's certificate not at all.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import KafkaError

from workers.stream.clock import Clock
from workers.stream.failures import CODES, without_answer
from workers.topology import Broker

PATIENCE = 2.0
"""Seconds in which another broker of the list may take us."""
_LOOK_SECONDS = 5.0
_TOKEN = "OAUTHBEARER token"  # noqa: S105  words of a message
_ALERT = "ssl/tls alert"
_GUESS = re.compile(r"connecting to an? \w+ (?:broker )?listener")


class Lines(Protocol):
    """Takes what a client says, as its `logger`."""

    def log(self, level: int, form: str, *parts: Any) -> None:
        """Never raises."""
        ...


@dataclass(slots=True)
class RefusalState:
    """What the client said of security since it was made."""

    clock: Clock
    lines: Lines
    said: list[KafkaError] = field(default_factory=list)
    guess: str = ""
    """What the client takes the listener for."""
    _since: float = 0.0

    def log(self, level: int, form: str, *parts: Any) -> None:
        """As the client's `logger`; never raises."""
        line = form % parts if parts else form
        if found := _GUESS.search(line):
            self.guess = found[0]
        self.lines.log(level, form, *parts)

    def take(self, error: KafkaError) -> None:
        """The client's `error_cb`; never raises."""
        security = CODES.get(error.code(), "") in ("_AUTHENTICATION", "_SSL")
        if security or _ALERT in error.str():
            if not self.said:
                self._since = self.clock.monotonic()
            self.said.append(error)

    @property
    def final(self) -> bool:
        """Were we refused, and has nobody else of the list taken us?"""
        return bool(self.said) and self.clock.monotonic() - self._since >= PATIENCE

    @property
    def no_token(self) -> bool:
        """Were we not even able to ask?"""
        return bool(self.said) and _TOKEN in self.said[-1].str()

    def why(self, broker: Broker) -> str:
        """The last refusal, with what to do."""
        last = self.said[-1]
        text = without_answer(last.str()).partition(" (after ")[0]
        return f"{text} ({remedy(last, broker)})"


def remedy(error: KafkaError, broker: Broker) -> str:
    """What to look at after a refusal."""
    if _ALERT in error.str():
        return _about_ours(broker)
    if "certificate verify failed" in error.str():
        return certificate_fault(broker)
    if CODES.get(error.code()) == "_SSL":
        return "does that listener speak TLS? See broker.security.protocol and broker.security.tls"
    if _TOKEN in error.str():
        return "check broker.security.sasl.oauth, and the token server"
    return "check broker.security.sasl: its mechanism, and who we say we are"


def _about_ours(broker: Broker) -> str:
    tls = broker.security.tls
    if tls is None or tls.certificate is None:
        return "the broker wants a certificate of ours: write broker.security.tls.certificate, key"
    return (
        f"the broker does not take {tls.certificate}: is it out of date, and signed by whom the "
        "broker trusts? See broker.security.tls.certificate"
    )


def certificate_fault(broker: Broker) -> str:
    """What is wrong with a broker's certificate: the client does not tell, so we look ourselves."""
    for address in broker.bootstrap_servers.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            _look(broker, host.strip("[]"), int(port))
        except ssl.SSLCertVerificationError as error:
            return f"the certificate of {address}: {error.verify_message}; {_advice(error)}"
        except (OSError, ValueError):
            continue
    return "check broker.security.tls.ca"


def _look(broker: Broker, host: str, port: int) -> None:
    """Shake hands as the client does, with the same trust; nothing is sent."""
    tls = broker.security.tls
    ca = tls.ca if tls is not None else None
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.check_hostname = tls is None or tls.verify_hostname
    with (
        socket.create_connection((host, port), timeout=_LOOK_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass


def _advice(error: ssl.SSLCertVerificationError) -> str:
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        return "the broker needs another one, or a clock is wrong"
    if "mismatch" in error.verify_message:
        return "write the name that is in it in broker.bootstrap_servers"
    return "broker.security.tls.ca names who signs the brokers' certificates"
