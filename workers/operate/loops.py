"""What feedback loops need of a cluster that is not theirs to change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.operate.acls import principal
from workers.operate.checks import owners_topic
from workers.operate.seen import Seen
from workers.operate.steps import Step, note, warning
from workers.operate.wanted import WantedTopic
from workers.topology import Feedback, Topology


def outcomes_steps(loop: Feedback, wanted: Mapping[str, WantedTopic], seen: Seen) -> Iterator[Step]:
    """The topic of the outcomes: it is its owner's, never created or changed here."""
    topic = loop.outcomes.topic
    target = f"topic {topic}"
    there = seen.topics.get(topic)
    if there is None:
        yield from owners_topic(topic, "outcomes", f"feedback loop {loop.name}", wanted)
    elif "compact" in (there.settings or {}).get("cleanup.policy", ""):
        yield note(
            target,
            "it is compacted: of several outcomes of a key those before the last may go before "
            "they are collected, and a dataset as of an earlier instant then lacks them",
            "let the loop run more often than min.compaction.lag.ms",
            setting="cleanup.policy",
            current=(there.settings or {}).get("cleanup.policy"),
        )


def shared_principal(topology: Topology, loop: Feedback, seen: Seen) -> Iterator[Step]:
    """Where there are ACLs, a loop that comes as its worker gives the worker more than it needs."""
    worker = topology.workers[loop.worker]
    who = principal(topology.broker, loop)
    if seen.acls is not None and who == principal(topology.broker, worker):
        yield warning(
            f"feedback loop {loop.name}",
            f"to the brokers it is {who}, as worker {worker.name} is: the one may do what the "
            "other may",
            f"give its process credentials of its own, and write feedback.{loop.name}.principal",
            setting="principal",
            current=who,
        )
