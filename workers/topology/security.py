"""How the clients prove who they are to the broker, and the broker to them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, model_validator

Properties = dict[str, str | int | bool]


class Part(BaseModel):
    """A part of topology.yaml: unknown keys are faults, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class OAuth(Part):
    """Client credentials for OAUTHBEARER (OpenID Connect)."""

    token_endpoint_url: str = Field(description="Where tokens are fetched.")
    client_id: str = Field(description="Who asks.")
    client_secret: SecretStr = Field(description="Write it as ${NAME}.")
    scope: str | None = Field(default=None, description="Scope asked for.")


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
        elif self.username is None or self.password is None:
            raise ValueError(f"{self.mechanism} needs `username` and `password`")
        return self

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        found: Properties = {"sasl.mechanism": self.mechanism.value}
        if self.username is not None and self.password is not None:
            found["sasl.username"] = self.username
            found["sasl.password"] = self.password.get_secret_value()
        if self.oauth is not None:
            found["sasl.oauthbearer.method"] = "oidc"
            found["sasl.oauthbearer.token.endpoint.url"] = self.oauth.token_endpoint_url
            found["sasl.oauthbearer.client.id"] = self.oauth.client_id
            found["sasl.oauthbearer.client.secret"] = self.oauth.client_secret.get_secret_value()
            if self.oauth.scope is not None:
                found["sasl.oauthbearer.scope"] = self.oauth.scope
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

    def client_properties(self) -> Properties:
        """librdkafka's properties, secrets included: never print them."""
        found: Properties = {"security.protocol": self.protocol.value}
        if self.sasl is not None:
            found |= self.sasl.client_properties()
        if self.tls is not None:
            found |= self.tls.client_properties()
        return found
