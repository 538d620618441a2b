"""How the clients prove who they are to the broker, and the broker to them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, HttpUrl, SecretStr, model_validator

from workers.errors import TopologyError

MAX_SECRET_BYTES = 64 * 1024
Properties = dict[str, str | int | bool]


class Part(BaseModel):
    """A part of topology.yaml: unknown keys are faults, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def secret(written: SecretStr | None, file: Path | None) -> str:
    """A secret as it is written, else what its file holds now, without the line's end.

    Raises:
        TopologyError: the file cannot be read, is empty or no secret's.
    """
    if written is not None or file is None:
        return written.get_secret_value() if written is not None else ""
    try:
        with file.open("rb") as opened:
            held = opened.read(MAX_SECRET_BYTES + 1)
        text = held.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"{file}: no secret can be read: {type(error).__name__}") from None
    if not text or len(held) > MAX_SECRET_BYTES:
        raise TopologyError(f"{file}: no secret: it is empty, or over {MAX_SECRET_BYTES} bytes")
    return text


class SecurityProtocol(StrEnum):
    """librdkafka's `security.protocol`."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class Mechanism(StrEnum):
    """librdkafka's `sasl.mechanism`."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"
    GSSAPI = "GSSAPI"


class Algorithm(StrEnum):
    """librdkafka's `sasl.oauthbearer.assertion.algorithm`."""

    RS256 = "RS256"
    ES256 = "ES256"


class Assertion(Part):
    """A signed statement of who we are, in the place of a client secret (RFC 7523)."""

    key: FilePath = Field(description="Private key that signs it, a PEM file.")
    key_password: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    algorithm: Algorithm = Field(default=Algorithm.RS256, description="How it is signed.")
    issuer: str = Field(description="Claim `iss`: who signs.")
    subject: str = Field(description="Claim `sub`: whom the token is for.")
    audience: str = Field(description="Claim `aud`: who is asked for the token.")

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        prefix = "sasl.oauthbearer.assertion"
        found: Properties = {
            "sasl.oauthbearer.grant.type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            f"{prefix}.algorithm": self.algorithm.value,
            f"{prefix}.private.key.file": str(self.key),
            f"{prefix}.claim.iss": self.issuer,
            f"{prefix}.claim.sub": self.subject,
            f"{prefix}.claim.aud": self.audience,
        }
        if self.key_password is not None:
            found[f"{prefix}.private.key.passphrase"] = self.key_password.get_secret_value()
        return found


class OAuth(Part):
    """How tokens for OAUTHBEARER are had (OpenID Connect)."""

    token_endpoint_url: HttpUrl = Field(
        description="Where tokens are fetched; no user or password in it."
    )
    client_id: str | None = Field(default=None, description="Who asks, with a secret.")
    client_secret: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    client_secret_file: FilePath | None = Field(
        default=None, description="Or the file that holds it."
    )
    assertion: Assertion | None = Field(default=None, description="Or no secret: a signature.")
    scope: str | None = Field(default=None, description="Scope asked for.")
    extensions: dict[str, str] = Field(
        default_factory=dict, description="SASL extensions sent to the broker."
    )
    ca: FilePath | None = Field(
        default=None,
        description="Who may sign the token server's certificate, a PEM file; by "
        "default whom the system trusts.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.token_endpoint_url.username or self.token_endpoint_url.password:
            raise ValueError("no user or password in `token_endpoint_url`: write `client_id`")
        ways = (self.client_secret, self.client_secret_file, self.assertion)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("write one of `client_secret`, `client_secret_file` and `assertion`")
        if (self.client_id is None) != (self.assertion is not None):
            raise ValueError("`client_id` and a secret come together; an `assertion` has `issuer`")
        return self

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        prefix = "sasl.oauthbearer"
        found: Properties = {
            f"{prefix}.method": "oidc",
            f"{prefix}.token.endpoint.url": str(self.token_endpoint_url),
        }
        if self.assertion is not None:
            found |= self.assertion.client_properties()
        elif self.client_id is not None:
            found[f"{prefix}.client.id"] = self.client_id
            found[f"{prefix}.client.secret"] = secret(self.client_secret, self.client_secret_file)
        if self.scope is not None:
            found[f"{prefix}.scope"] = self.scope
        if self.extensions:
            pairs = (f"{name}={value}" for name, value in self.extensions.items())
            found[f"{prefix}.extensions"] = ",".join(pairs)
        # Left alone, the client's wheel looks where Red Hat keeps them, and nowhere else.
        found["https.ca.location"] = "probe" if self.ca is None else str(self.ca)
        return found


class Kerberos(Part):
    """GSSAPI. The client must be built with it; the wheels on the package index are not."""

    service_name: str = Field(default="kafka", description="Principal name of the brokers.")
    keytab: FilePath | None = Field(default=None, description="Key table file.")
    principal: str | None = Field(default=None, description="Our principal.")


class Sasl(Part):
    """Who we are."""

    mechanism: Mechanism = Field(description="How we prove it.")
    username: str | None = Field(default=None, description="For PLAIN and SCRAM.")
    password: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    password_file: FilePath | None = Field(default=None, description="Or the file that holds it.")
    oauth: OAuth | None = Field(default=None, description="For OAUTHBEARER.")
    kerberos: Kerberos | None = Field(default=None, description="For GSSAPI.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mechanism is Mechanism.OAUTHBEARER:
            if self.oauth is None:
                raise ValueError("OAUTHBEARER needs `oauth`")
        elif self.mechanism is Mechanism.GSSAPI:
            if self.kerberos is None:
                raise ValueError("GSSAPI needs `kerberos`")
        elif self.username is None or (self.password is None) == (self.password_file is None):
            raise ValueError(
                f"{self.mechanism} needs `username`, and `password` or `password_file`"
            )
        return self

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        found: Properties = {"sasl.mechanism": self.mechanism.value}
        if self.username is not None:
            found["sasl.username"] = self.username
            found["sasl.password"] = secret(self.password, self.password_file)
        if self.oauth is not None:
            found |= self.oauth.client_properties()
        if self.kerberos is not None:
            found["sasl.kerberos.service.name"] = self.kerberos.service_name
            if self.kerberos.keytab is not None:
                found["sasl.kerberos.keytab"] = str(self.kerberos.keytab)
            if self.kerberos.principal is not None:
                found["sasl.kerberos.principal"] = self.kerberos.principal
        return found


class Tls(Part):
    """Certificates, PEM files."""

    ca: FilePath | None = Field(default=None, description="Who may sign the broker's.")
    certificate: FilePath | None = Field(default=None, description="Ours, for mutual TLS.")
    key: FilePath | None = Field(default=None, description="Its private key.")
    key_password: SecretStr | None = Field(default=None, description="Write it as ${NAME}.")
    verify_hostname: bool = Field(default=True, description="Hold the broker to its name.")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` come together")
        return self

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        found: Properties = {
            "ssl.endpoint.identification.algorithm": "https" if self.verify_hostname else "none"
        }
        files = {
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        found |= {name: str(path) for name, path in files.items() if path is not None}
        if self.key_password is not None:
            found["ssl.key.password"] = self.key_password.get_secret_value()
        return found


class Security(Part):
    """Security of the connection to the brokers."""

    protocol: SecurityProtocol = Field(
        default=SecurityProtocol.PLAINTEXT, description="What the listener speaks."
    )
    sasl: Sasl | None = Field(default=None, description="Needed by the SASL protocols.")
    tls: Tls | None = Field(default=None, description="For the SSL protocols.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.protocol.startswith("SASL") != (self.sasl is not None):
            raise ValueError(f"`sasl` and a SASL protocol come together; this is {self.protocol}")
        if self.tls is not None and not self.protocol.endswith("SSL"):
            raise ValueError(f"`tls` needs SSL or SASL_SSL; this is {self.protocol}")
        return self

    @property
    def tokens(self) -> bool:
        """Is a token server asked first?"""
        return self.sasl is not None and self.sasl.oauth is not None

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        found: Properties = {"security.protocol": self.protocol.value}
        if self.sasl is not None:
            found |= self.sasl.client_properties()
        if self.tls is not None:
            found |= self.tls.client_properties()
        return found
