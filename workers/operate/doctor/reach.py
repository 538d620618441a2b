"""Can this host reach the brokers' addresses, and is their TLS what the topology wants?"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workers.operate.doctor.findings import Check, Finding, Severity
from workers.topology import Broker

SECONDS = 5.0
SOON = timedelta(days=30)
"""A certificate that ends within this is warned of."""
Address = tuple[str, int]


def bootstrap(broker: Broker) -> list[Address]:
    """The addresses that the topology names."""
    found = []
    for server in broker.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        found.append((host.strip("[]"), int(port) if port.isdecimal() else 9092))
    return found


def reached(
    broker: Broker, addresses: Iterable[Address], what: str, now: datetime
) -> Iterator[Finding]:
    """Each address: name, port, TLS. `what` says whose addresses they are."""
    encrypted = broker.security.protocol.endswith("SSL")
    for host, port in dict.fromkeys(addresses):
        where = f"{what} {host}:{port}"
        try:
            with socket.create_connection((host, port), timeout=SECONDS) as connection:
                yield Finding(Check.ADDRESSES, Severity.OK, where, "answers")
                if encrypted:
                    yield from _handshake(broker, connection, host, where, now)
        except socket.gaierror as error:
            text = f"the name does not resolve: {error.strerror}"
            yield Finding(Check.ADDRESSES, Severity.FAULT, where, text, _remedy(what))
        except OSError as error:
            text = f"no connection: {error.strerror or error}"
            yield Finding(Check.ADDRESSES, Severity.FAULT, where, text, _remedy(what))


def _remedy(what: str) -> str:
    if what == "advertised":
        return "the brokers' advertised.listeners must be addresses that this host reaches"
    return "correct broker.bootstrap_servers, or let this host through"


def _handshake(
    broker: Broker, connection: socket.socket, host: str, where: str, now: datetime
) -> Iterator[Finding]:
    try:
        with _context(broker).wrap_socket(connection, server_hostname=host) as secured:
            found = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        remedy = "correct broker.security.tls.ca, the certificate, or the name"
        yield Finding(Check.TLS, Severity.FAULT, where, error.verify_message, remedy)
        return
    except OSError as error:
        text = f"no handshake: {getattr(error, 'reason', None) or error}"
        remedy = "does this listener speak TLS, and want a certificate of ours?"
        yield Finding(Check.TLS, Severity.FAULT, where, text, remedy)
        return
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    yield _ending(where, ends, now)


def _context(broker: Broker) -> ssl.SSLContext:
    tls = broker.security.tls
    context = ssl.create_default_context(cafile=str(tls.ca) if tls and tls.ca else None)
    if tls is None:
        return context
    context.check_hostname = tls.verify_hostname
    if tls.certificate is not None:
        password = tls.key_password.get_secret_value() if tls.key_password else None
        context.load_cert_chain(tls.certificate, tls.key, password)
    return context


def _ending(where: str, ends: datetime, now: datetime) -> Finding:
    text = f"the certificate ends {ends:%Y-%m-%d %H:%MZ}"
    if ends <= now:
        return Finding(Check.TLS, Severity.FAULT, where, f"{text}: it is over", "renew it")
    if ends - now < SOON:
        return Finding(Check.TLS, Severity.WARNING, where, f"{text}: soon", "renew it")
    return Finding(Check.TLS, Severity.OK, where, text)


def own_certificate(broker: Broker, now: datetime) -> Iterator[Finding]:
    """When ours ends, where we have one."""
    tls = broker.security.tls
    if tls is None or tls.certificate is None:
        return
    where = f"broker.security.tls.certificate {tls.certificate}"
    try:
        yield _ending(where, _end_of(tls.certificate), now)
    except ImportError:
        text = "its end cannot be read without the extra `encryption`"
        yield Finding(Check.TLS, Severity.NOTE, where, text)
    except (ValueError, OSError) as error:
        yield Finding(Check.TLS, Severity.FAULT, where, f"cannot be read: {error}", "a PEM file")


def _end_of(certificate: Path) -> datetime:
    # Imported here: `cryptography` is an extra.
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
