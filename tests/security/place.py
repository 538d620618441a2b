"""A broker with an authorizer and a listener for each way to prove who one is; rights on it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.conftest import ROOT
from tests.contracts.certificates import Authority, Pair
from tests.security.tokens import AUDIENCE, ISSUER, TokenServer
from workers.operate.acls import commands
from workers.operate.plan import wanted
from workers.testing import RealKafka
from workers.testing.kafka import LocalProcess
from workers.testing.listeners import Listener, Secured, login, served_with, tokens, trusting
from workers.topology import Topology

USER, COLLECTOR = "ann", "lou"
"""Who the worker is, and who runs its feedback loop."""
PASSWORD = "hunter2-only-for-this-test"  # noqa: S105  of a broker that lives as long as the test
FROM_ENVIRONMENT = "${PASSWORD}"
CLIENT_SECRET = "hunter3-only-for-this-test"  # noqa: S105  likewise
TEXT = """\
version: 1
broker:
  bootstrap_servers: {servers}
  connect_timeout: 20s
  security: {security}
contracts: {{directory: {root}/schemas}}
models: {{directory: {root}/models}}
workers:
  flight-delays:
    input: {{topic: flights}}
    output: {{topic: flights.enriched, settings: {{retention: forever}}}}
    dead_letter: {{topic: flights.dlq, settings: {{retention: forever}}}}
    decisions: {{topic: flights.decisions, settings: {{retention: forever}}}}
    model: {{name: flight-delay, version: "1"}}
    principal: {principal}
    instance: host-1
    first_start: earliest
{more}"""
LOOP = """feedback:
  flights:
    worker: flight-delays
    principal: User:{who}
    outcomes:
      topic: flights.outcomes
      decision_id: decision_id
      label: arrival_delay > 15
      known_at: landed_at
    matures: 24h
    lake: {{directory: lake}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The broker, and who may come to it."""

    kafka: RealKafka
    listeners: dict[str, str]
    folder: Path
    authority: Authority
    stranger: Authority
    tokens: TokenServer
    client: Pair

    @property
    def admin(self) -> str:
        """The address at which everybody is a super user."""
        return self.kafka.bootstrap_servers

    def topology(
        self, file: Path, listener: str, security: str, *, who: str = f"User:{USER}", more: str = ""
    ) -> Path:
        """Write a topology for that listener; `more` are lines of the worker."""
        servers = self.listeners.get(listener, self.admin)
        lines = "".join(f"    {line}\n" for line in more.splitlines())
        file.write_text(
            TEXT.format(servers=servers, security=security, root=ROOT, principal=who, more=lines)
        )
        return file

    def tls(self, *more: str) -> str:
        """The key `tls` of a topology, with who signed the broker's certificate."""
        return f"tls: {{{', '.join([f'ca: {self.authority.ca}', *more])}}}"

    def scram(
        self,
        mechanism: str = "SCRAM-SHA-512",
        password: str = FROM_ENVIRONMENT,
        user: str = USER,
    ) -> str:
        """Security by a password, encrypted."""
        sasl = f'{{mechanism: {mechanism}, username: {user}, password: "{password}"}}'
        return f"{{protocol: SASL_SSL, sasl: {sasl}, {self.tls()}}}"

    def mutual(self, pair: Pair, *more: str) -> str:
        """Security by a certificate."""
        mine = (f"certificate: {pair.certificate}", f"key: {pair.key}", *more)
        return f"{{protocol: SSL, {self.tls(*mine)}}}"

    def oauth(self, *lines: str) -> str:
        """Security by a token; `lines` are how it is had."""
        asked = ", ".join([f"token_endpoint_url: {self.tokens.url}", *lines])
        sasl = f"{{mechanism: OAUTHBEARER, oauth: {{{asked}}}}}"
        return f"{{protocol: SASL_SSL, sasl: {sasl}, {self.tls()}}}"


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """One broker, six listeners, a token server."""
    ours, stranger = Authority(folder, "ours"), Authority(folder, "stranger")
    broker = ours.sign("broker")
    elsewhere, expired = ours.sign("elsewhere", host="127.0.0.9"), ours.sign("old", expired=True)
    tls = served_with(broker.certificate, broker.key)
    with TokenServer(
        folder, ours.sign("tokens"), client="worker", secret=CLIENT_SECRET, subject=USER
    ) as server:
        users = {USER: PASSWORD, COLLECTOR: PASSWORD}
        way_in = login("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", users=users)
        oauth = tokens(server.keys, issuer=ISSUER, audience=AUDIENCE)
        clients = served_with(broker.certificate, broker.key, clients=ours.ca)
        listeners = {
            "password": Listener(protocol="SASL_SSL", settings={**tls, **way_in}),
            "token": Listener(protocol="SASL_SSL", settings={**tls, **oauth}),
            "mutual": Listener(protocol="SSL", settings=clients),
            "elsewhere": _tls_alone(elsewhere),
            "expired": _tls_alone(expired),
        }
        secured = Secured(listeners=listeners, scram=users, java=trusting(server.keys))
        process = LocalProcess(secured=secured)
        with RealKafka(process) as kafka:
            kafka.create_topic("flights", 2)
            client = ours.sign("flight-delays")
            yield Place(kafka, process.listeners, folder, ours, stranger, server, client)


def _tls_alone(pair: Pair) -> Listener:
    return Listener(protocol="SSL", settings=served_with(pair.certificate, pair.key))


def bindings(line: str) -> list[AclBinding]:
    """What kafka-acls makes of a printed command: one binding an operation."""
    words = shlex.split(line)
    assert words[0] == "kafka-acls.sh"
    options = list(itertools.pairwise(words))
    found = {name: value for name, value in options if name.startswith("--")}
    name, kind = next(
        (found[f"--{kind.name.lower().replace('_', '-')}"], kind)
        for kind in (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
        if f"--{kind.name.lower().replace('_', '-')}" in found
    )
    prefixed = found.get("--resource-pattern-type") == "prefixed"
    return [
        AclBinding(
            kind,
            name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            found["--allow-principal"],
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for option, operation in options
        if option == "--operation"
    ]


def give(servers: str, lines: Sequence[str]) -> None:
    """Run the commands, and no others: whatever else anybody had before is taken away.

    What stays is there all the time: somebody who runs meanwhile lacks nothing but what is taken.
    """
    client = AdminClient({"bootstrap.servers": servers})
    every = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    made = [binding for line in lines for binding in bindings(line)]
    for future in client.create_acls(made).values() if made else ():
        future.result(30)
    taken = [_exactly(held) for held in client.describe_acls(every).result(30) if held not in made]
    for future in client.delete_acls(taken).values() if taken else ():
        future.result(30)


def _exactly(held: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        held.restype,
        held.name,
        held.resource_pattern_type,
        held.principal,
        held.host,
        held.operation,
        held.permission_type,
    )


def needed(topology: Topology) -> list[str]:
    """The commands that `workers plan --output acls` prints."""
    wants = wanted(topology, topology.workers.values(), None, topology.feedback.values())
    script = commands(topology.broker, wants.identities)
    return [line for line in script.splitlines() if not line.startswith("#")]
