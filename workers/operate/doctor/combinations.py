"""Settings that are right alone and wrong together. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address

from workers.operate.doctor.findings import Check, Finding, Severity
from workers.topology import Broker, FirstStart, Protocol, Topology, Worker

_COMBINATION = partial(Finding, Check.COMBINATION)
MAX_POLL = 300.0
"""librdkafka's `max.poll.interval.ms`, in seconds."""
_LOCAL = ("localhost", "127.", "[::1]")


def combinations(topology: Topology, worker: Worker) -> Iterator[Finding]:
    """What is to be said of a worker's settings."""
    where = f"worker {worker.name}"
    yield from _membership(worker, where)
    yield from _times(topology, worker, where)
    yield from _endpoints(topology)
    yield from _stores(topology, worker, where)
    yield from _transport(topology.broker)
    if worker.consumer.get("check.crcs") in (False, "false"):
        yield _COMBINATION(
            Severity.WARNING,
            where,
            "consumer: check.crcs is off: a record that was damaged on its way is scored",
            "leave it out",
        )
    if worker.first_start is FirstStart.LATEST:
        yield _COMBINATION(
            Severity.NOTE, where, "first_start is latest: what is there before it is never enriched"
        )


def _membership(worker: Worker, where: str) -> Iterator[Finding]:
    if not worker.static_membership:
        return
    if worker.protocol is Protocol.CONSUMER:
        yield _COMBINATION(
            Severity.WARNING,
            where,
            "static_membership with protocol consumer: after a crash the new process is refused "
            "until the session of the old one ends (UNRELEASED_INSTANCE_ID)",
            "static membership pays off with protocol: classic",
        )
    if not worker.instance:
        yield _COMBINATION(
            Severity.NOTE,
            where,
            "static_membership takes the host's name as `instance`: it must be the same after a "
            "restart, as a StatefulSet's is and a Deployment's is not",
        )


def _times(topology: Topology, worker: Worker, where: str) -> Iterator[Finding]:
    longest = float(worker.consumer.get("max.poll.interval.ms", MAX_POLL * 1000)) / 1000
    silent = worker.watchdog + worker.drain_timeout
    if silent >= longest:
        yield _COMBINATION(
            Severity.WARNING,
            where,
            f"watchdog and drain_timeout together ({silent:g} s) are not under the consumer's "
            f"max.poll.interval.ms ({longest:g} s): the group would let a slow batch's member go",
            "shorten them, or raise `consumer: {max.poll.interval.ms: …}`",
        )
    if topology.health is None:
        return
    patience = topology.health.patience
    if patience <= silent:
        yield _COMBINATION(
            Severity.WARNING,
            "health",
            f"patience ({patience:g} s) is not over watchdog and drain_timeout of {where} "
            f"({silent:g} s): a batch that is merely slow fails /livez",
            "raise health.patience",
        )
    if patience >= longest:
        yield _COMBINATION(
            Severity.WARNING,
            "health",
            f"patience ({patience:g} s) is not under max.poll.interval.ms of {where} "
            f"({longest:g} s): the group lets a stuck member go before /livez fails",
            "lower health.patience",
        )


def _endpoints(topology: Topology) -> Iterator[Finding]:
    settings = topology.health
    if settings is None:
        yield _COMBINATION(Severity.NOTE, "health", "is off: nothing can probe the processes")
    elif not ip_address(settings.address).is_loopback:
        yield _COMBINATION(
            Severity.NOTE,
            "health",
            f"listens on {settings.address}, and asks nobody who they are",
            "see that a network policy lets in the kubelet and Prometheus alone",
        )


def _stores(topology: Topology, worker: Worker, where: str) -> Iterator[Finding]:
    models = topology.models
    if models.directory is None and models.cache is None:
        yield _COMBINATION(
            Severity.WARNING,
            "models",
            "no cache: a process that starts while the store does not answer ends with exit code 5",
            "write models.cache, on a volume that outlives the process",
        )
    if topology.state is None:
        yield _COMBINATION(
            Severity.NOTE,
            "state",
            "is below the user's home: in a container that goes with it, a record that ends its "
            "process is not found",
            "write `state`, on a volume that outlives the process",
        )
    if worker.model.version is not None:
        yield _COMBINATION(
            Severity.NOTE,
            where,
            f"model {worker.model.name} is pinned to version {worker.model.version}: what is "
            "promoted is not followed, a bypass and a pause are",
        )


def _transport(broker: Broker) -> Iterator[Finding]:
    servers = broker.bootstrap_servers.split(",")
    security = broker.security
    if not security.protocol.endswith("SSL"):
        if not all(server.strip().startswith(_LOCAL) for server in servers):
            yield _COMBINATION(
                Severity.WARNING,
                "broker.security",
                f"{security.protocol}: records and passwords cross the network as they are",
                "SSL or SASL_SSL",
            )
    elif security.tls is not None and not security.tls.verify_hostname:
        yield _COMBINATION(
            Severity.WARNING,
            "broker.security.tls",
            "verify_hostname is off: whoever has a certificate of this authority is a broker to us",
            "turn it on",
        )
