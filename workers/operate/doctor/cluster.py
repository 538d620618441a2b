"""What the cluster says, for the doctor: plan, rights, group, lag, newest records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from workers.errors import Halt, Retry
from workers.operate.doctor.clocks import against_records
from workers.operate.doctor.findings import Check, Finding, Severity, of_steps
from workers.operate.lag import GroupLag, group_lags
from workers.operate.look import Cluster, connect, look
from workers.operate.offsets import Place, members, places
from workers.operate.plan import Wanted, plan
from workers.operate.subjects import SubjectsSeen
from workers.stream.clock import Clock
from workers.topology import Broker, Worker

NEWEST = 16
"""Partitions whose newest records are looked at."""
BACK = 10
"""Offsets before the end; the very last may be a transaction's marker."""


class ClientLines:
    """The client's own lines, kept instead of logged: they say why nothing answers."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def log(self, _: int, form: str, *parts: object) -> None:
        """Called by the client; never raises."""
        line = form % parts if parts else form
        if line not in self.kept:
            self.kept = [*self.kept[-4:], line]


def connected(broker: Broker) -> tuple[Cluster | None, Finding]:
    """The cluster; None, and why, where no broker lets us in."""
    lines = ClientLines()
    try:
        cluster = connect(broker, "workers.doctor", lines)
    except Halt as halt:
        said = "; ".join([str(halt), *lines.kept[-2:]])
        remedy = "see what `addresses` and `tls` found; then broker.security.sasl"
        where = broker.bootstrap_servers
        return None, Finding(Check.BROKERS, Severity.FAULT, where, said, remedy)
    count = len(cluster.metadata.brokers)
    said = f"{count} brokers, cluster {cluster.metadata.cluster_id}"
    return cluster, Finding(Check.BROKERS, Severity.OK, broker.bootstrap_servers, said)


def planned(wants: Wanted, cluster: Cluster, registry: SubjectsSeen | None) -> Iterator[Finding]:
    """What `workers plan` would find."""
    found = list(of_steps(plan(wants, look(cluster, wants.workers, wants.topic_names), registry)))
    yield from found
    for check in (Check.PLAN, Check.ACLS):
        if not any(finding.check is check for finding in found):
            yield Finding(check, Severity.OK, "cluster", "nothing differs from what is wanted")


def group(broker: Broker, worker: Worker, cluster: Cluster, clock: Clock) -> Iterator[Finding]:
    """Members, lag, newest records."""
    where = f"group {worker.group}"
    try:
        found = places(cluster, worker)
        count = members(cluster, worker)
    except (Halt, Retry) as error:
        remedy = "it needs Describe on the topic and the group"
        yield Finding(Check.GROUP, Severity.WARNING, where, f"could not be read: {error}", remedy)
        return
    yield _members(where, count, len(found))
    yield from _asked(lambda: _lag(where, group_lags(broker, worker, found), clock.now()), where)
    yield from _asked(lambda: _newest(broker, worker, found, clock), f"topic {worker.input.topic}")


def _members(where: str, count: int, partitions: int) -> Finding:
    if count > partitions:
        text = f"{count - partitions} of {count} members stand idle: {partitions} partitions"
        remedy = f"run {partitions} at most, or have partitions added"
        return Finding(Check.GROUP, Severity.WARNING, where, text, remedy)
    if not count:
        return Finding(Check.GROUP, Severity.NOTE, where, "has no members: nothing runs")
    return Finding(Check.GROUP, Severity.OK, where, f"{count} members, {partitions} partitions")


def _lag(where: str, lags: Sequence[GroupLag], now: int) -> Iterator[Finding]:
    never = [each.partition for each in lags if each.committed is None]
    if never:
        text = f"has no offset for {len(never)} of {len(lags)} partitions: first_start decides"
        yield Finding(Check.LAG, Severity.NOTE, where, text)
    behind = [each for each in lags if each.lag]
    if not behind:
        yield Finding(Check.LAG, Severity.OK, where, "nothing is behind")
        return
    total = sum(each.lag or 0 for each in behind)
    waits = [seconds for each in behind if (seconds := each.time_lag(now)) is not None]
    since = f", the oldest for {max(waits):.0f} s" if waits else ""
    text = f"{total} records of {len(behind)} partitions are not done{since}"
    remedy = "`workers lag --watch 5` says which way it goes; `workers status` why"
    yield Finding(Check.LAG, Severity.NOTE, where, text, remedy)


def _newest(
    broker: Broker, worker: Worker, found: Sequence[Place], clock: Clock
) -> Iterator[Finding]:
    filled = [place for place in found if place.end > place.begin][:NEWEST]
    if not filled:
        return
    near = [replace(p, committed=max(p.begin, p.end - BACK)) for p in filled]
    stamps = [each.oldest for each in group_lags(broker, worker, near)]
    yield from against_records(worker.input.topic, stamps, clock.now())


def _asked(ask: Callable[[], Iterator[Finding]], where: str) -> Iterator[Finding]:
    try:
        yield from ask()
    except (Halt, Retry) as error:
        remedy = "it needs Read on the input and the group"
        yield Finding(Check.LAG, Severity.WARNING, where, f"could not be read: {error}", remedy)
