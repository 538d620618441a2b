"""The decision gateway: where it listens, who may call, what happens when something is unwell."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, model_validator

from workers.topology.names import TopicName
from workers.topology.security import Part
from workers.topology.units import Duration, Size
from workers.topology.wanted import TopicSettings

CallerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
KeyHash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$")]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class Role(StrEnum):
    """What a caller may do beside asking for decisions."""

    PROMOTE = "promote"
    BYPASS = "bypass"
    REPLAY = "replay"


class Acknowledge(StrEnum):
    """When a decision is answered: the broker holds it, or it is queued in this process."""

    BEFORE_ANSWER = "before_answer"
    QUEUED = "queued"


class OnLogFailure(StrEnum):
    """What to do while the decisions topic cannot be written."""

    REFUSE = "refuse"
    SPILL = "spill"


class ReasonsPolicy(StrEnum):
    """When reasons are computed: where a request asks, or as a stream does."""

    ASKED = "asked"
    ALWAYS = "always"


class Caller(Part):
    """Somebody who may ask."""

    keys: tuple[KeyHash, ...] = Field(
        default=(), description="API keys, hashed: `workers gateway key` makes one."
    )
    subjects: tuple[str, ...] = Field(
        default=(), description="What a token's claim or a proxy's header says of this caller."
    )
    workers: tuple[str, ...] = Field(description="Workers that it may ask; `*`: all.")
    accepts: tuple[FieldName, ...] | None = Field(
        default=None, description="Fields that its events may have; none named: all."
    )
    returns: tuple[FieldName, ...] | None = Field(
        default=None, description="Fields of the block that it is answered; none named: all."
    )
    roles: tuple[Role, ...] = Field(default=(), description="What else it may do.")
    rate: Rate | None = Field(default=None, description="Events at most, as in `100/second`.")


class Jwt(Part):
    """JSON Web Tokens as credentials."""

    jwks_file: FilePath | None = Field(default=None, description="The issuer's keys, a file.")
    jwks_url: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        default=None, description="Or where they are."
    )
    algorithms: Annotated[
        tuple[
            Literal[
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "ES256", "ES384", "ES512", "EdDSA",
            ],
            ...,
        ],
        Field(min_length=1),
    ] = Field(description="Signatures that count; none that is symmetric.")  # fmt: skip
    issuer: str = Field(description="What `iss` must be.")
    audience: str = Field(description="What `aud` must hold.")
    claim: str = Field(default="sub", description="The claim that names the caller.")
    refresh: Duration = Field(default=300.0, description="How long keys of a URL are kept.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("write one of `jwks_file` and `jwks_url`")
        return self


class Proxies(Part):
    """Proxies that end mutual TLS and say whose certificate it was."""

    addresses: Annotated[tuple[IPv4Network | IPv6Network, ...], Field(min_length=1)] = Field(
        description="Networks that they connect from; the header counts from nowhere else."
    )
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] = Field(
        default="X-Client-Cert-Subject", description="Header with the certificate's subject."
    )


class RequestLimits(Part):
    """What a client may send, and how slowly."""

    body: Size = Field(default=1024**2, description="Bytes of a request's body.")
    head: Size = Field(default=32 * 1024, description="Bytes of its line and headers.")
    events: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="Events of a request."
    )
    connections: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Connections at once."
    )
    receive: Duration = Field(
        default=10.0, description="How long a request may take to arrive, head and body."
    )
    idle: Duration = Field(default=30.0, description="How long a connection may be idle.")


class IdempotencyTopic(Part):
    """Where the answers to requests with an Idempotency-Key are kept."""

    topic: TopicName = Field(description="Topic of claims and answers; deleted by age alone.")
    window: Duration = Field(default=86_400.0, description="How long a key is remembered.")
    claim: Duration = Field(
        default=30.0, description="When a request counts as lost whose gateway does not answer."
    )
    memory: Size = Field(default=256 * 1024**2, description="Answers kept by a process.")
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )


class DecisionLogSettings(Part):
    """The decisions topic as the gateway writes it."""

    timeout: Duration = Field(
        default=3.0, description="Without an acknowledgement for so long the log is down."
    )
    on_failure: OnLogFailure = Field(
        default=OnLogFailure.REFUSE, description="What is done while it is."
    )
    spill: Path | None = Field(
        default=None, description="Directory of spilled decisions; must outlive the process."
    )
    spill_bytes: Size = Field(default=256 * 1024**2, description="Spilled at most.")
    retry: Duration = Field(default=1.0, description="How often a log that is down is tried.")


class Admin(Part):
    """A second listener with the verbs of operators; without it they are off."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8081, description="Port to listen on.")


class Gateway(Part):
    """The decision gateway, `workers serve`."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port to listen on; 0: any free one.")
    socket: Path | None = Field(default=None, description="A Unix socket to listen on instead.")
    health_port: Port = Field(
        default=8788,
        description="Port at `health`'s address of this process's `/livez`, `/readyz` and "
        "`/metrics`, which the public port does not have; 0: a free one, which the log names.",
    )
    callers: dict[CallerName, Caller] = Field(
        default_factory=dict, description="Who may ask, by name."
    )
    anonymous: CallerName | None = Field(
        default=None,
        description="The caller that a request without credentials is; on loopback or a Unix "
        "socket only.",
    )
    jwt: Jwt | None = Field(default=None, description="JSON Web Tokens.")
    proxies: Proxies | None = Field(default=None, description="Mutual TLS ends at a proxy.")
    limits: RequestLimits = Field(default_factory=RequestLimits, description="Of requests.")
    idempotency: IdempotencyTopic | None = Field(
        default=None, description="Idempotency-Key; without it the header is refused."
    )
    log: DecisionLogSettings = Field(
        default_factory=DecisionLogSettings, description="The decisions topic."
    )
    lookup: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=10_000,
        description="Newest decisions of each worker that can be looked up by id; 0: none.",
    )
    admin: Admin | None = Field(default=None, description="Verbs of operators.")
    audit: Path | None = Field(
        default=None, description="File of administrative acts; default below `state`."
    )
    drain: Duration = Field(default=15.0, description="Time to finish requests on SIGTERM.")

    @model_validator(mode="after")
    def _callers_fit(self) -> Self:
        seen: dict[str, str] = {}
        for name, caller in self.callers.items():
            for credential in (*caller.keys, *caller.subjects):
                if (other := seen.setdefault(credential, name)) != name:
                    raise ValueError(f"callers {other} and {name} share a credential")
        if self.log.on_failure is OnLogFailure.SPILL and self.log.spill is None:
            raise ValueError("log.on_failure is spill: say where, in log.spill")
        return self

    @model_validator(mode="after")
    def _anonymous_is_harmless(self) -> Self:
        if self.anonymous is None:
            return self
        if self.anonymous not in self.callers:
            raise ValueError(f"anonymous: there is no caller {self.anonymous}")
        if self.callers[self.anonymous].roles:
            raise ValueError(f"anonymous: caller {self.anonymous} has roles")
        if self.socket is None and not is_loopback(self.host):
            raise ValueError(
                f"anonymous: {self.host} is not loopback; give callers keys, or listen there"
            )
        return self


class QueueSettings(Part):
    """What may wait to be scored."""

    events: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Events; more are refused with 503."
    )
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=512, description="Events scored at once."
    )
    linger: Duration | None = Field(
        default=None,
        description="How long a batch waits for more events; default: it does not, and grows "
        "while the batch before it is scored and, under load, for as long again (5 ms at most).",
    )


class WorkerGateway(Part):
    """How the gateway serves a worker. With this part, even an empty one, it does."""

    acknowledge: Acknowledge = Field(
        default=Acknowledge.BEFORE_ANSWER, description="When a decision is answered."
    )
    deadline: Duration = Field(
        default=0.25, description="Until when a decision is made, unless the request says."
    )
    longest: Duration = Field(default=10.0, description="What a request may ask for at most.")
    reasons: ReasonsPolicy = Field(
        default=ReasonsPolicy.ASKED, description="When reasons are computed."
    )
    key: FieldName | None = Field(
        default=None,
        description="The event's field that is the record's key: text or an integer. By it a "
        "canary and a shadow choose.",
    )
    queue: QueueSettings = Field(default_factory=QueueSettings, description="What may wait.")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.deadline > self.longest:
            raise ValueError("deadline is longer than longest")
        return self


def is_loopback(host: str) -> bool:
    """Is this an address that no other machine reaches?"""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
