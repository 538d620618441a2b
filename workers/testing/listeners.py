"""Listeners of a broker beside the plain one: TLS, SASL, an authorizer, each declared as data.

Whoever comes to the plain listener is a super user of a broker that has others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
}
_HANDLER = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What one listener speaks: `settings` are lines of server.properties without its prefix."""

    protocol: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """Listeners by name (letters alone), users of SCRAM, and options of the broker's JVM."""

    listeners: Mapping[str, Listener]
    scram: Mapping[str, str] = field(default_factory=dict)
    java: tuple[str, ...] = ()

    def properties(self, controller: int, plain: int, ports: Mapping[str, int]) -> str:
        """Lines of server.properties that win over those above them."""
        places = {"PLAINTEXT": plain, **{name.upper(): port for name, port in ports.items()}}
        shown = [f"{name}://127.0.0.1:{port}" for name, port in places.items()]
        kinds = {name.upper(): each.protocol for name, each in self.listeners.items()}
        protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **kinds}
        lines = [
            f"listeners={','.join([*shown, f'CONTROLLER://127.0.0.1:{controller}'])}",
            f"advertised.listeners={','.join(shown)}",
            "listener.security.protocol.map="
            + ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
        ]
        for name, each in self.listeners.items():
            prefix = f"listener.name.{name.lower()}"
            lines += [f"{prefix}.{key}={value}" for key, value in each.settings.items()]
        return "\n".join(lines) + "\n"

    def format_options(self) -> list[str]:
        """What `StorageTool format` is told, so that the users are there from the beginning."""
        users = (
            f"{mechanism}=[name={json.dumps(name)},password={json.dumps(password)}]"
            for name, password in self.scram.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        )
        return [word for user in users for word in ("--add-scram", user)]


def served_with(certificate: Path, key: Path, *, clients: Path | None = None) -> dict[str, str]:
    """Settings of TLS; with `clients`, who must have signed the certificate that each shows."""
    pair = certificate.with_suffix(".keystore.pem")
    pair.write_bytes(key.read_bytes() + certificate.read_bytes())
    found = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(pair)}
    if clients is None:
        return {**found, "ssl.client.auth": "none"}
    trusted = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(clients)}
    return {**found, **trusted, "ssl.client.auth": "required"}


def login(*mechanisms: str, users: Mapping[str, str] | None = None) -> dict[str, str]:
    """Settings of SASL; `users` are passwords by name, for PLAIN."""
    found = {"sasl.enabled.mechanisms": ",".join(mechanisms)}
    known = " ".join(f'user_{name}="{password}"' for name, password in (users or {}).items())
    for mechanism in mechanisms:
        options = known if mechanism == "PLAIN" else ""
        found[f"{mechanism.lower()}.sasl.jaas.config"] = (
            f"{_MODULES[mechanism]} required {options};"
        )
    return found


def tokens(keys: Path, *, issuer: str, audience: str) -> dict[str, str]:
    """Settings of OAUTHBEARER, tokens held to a file of public keys (JWKS) by Kafka's validator.

    The JVM needs `trusting(keys)`.
    """
    return {
        **login("OAUTHBEARER"),
        "oauthbearer.sasl.server.callback.handler.class": _HANDLER,
        # Left alone, and with the mechanism before it, 4.1.1 takes a token whoever signed it.
        "sasl.oauthbearer.jwt.validator.class": _VALIDATOR,
        "oauthbearer.sasl.oauthbearer.jwks.endpoint.url": keys.as_uri(),
        "oauthbearer.sasl.oauthbearer.expected.issuer": issuer,
        "oauthbearer.sasl.oauthbearer.expected.audience": audience,
    }


def trusting(keys: Path) -> tuple[str, ...]:
    """JVM options without which a broker of 4.1 reads no such file."""
    return (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys.as_uri()}",)
