"""What a drill needs otherwise than the user has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.contracts.catalogue import Catalogue
from workers.drills.ground import AnyBroker
from workers.drills.setup import Setup
from workers.testing import EmbeddedBroker, RealKafka
from workers.testing.kafka import LocalProcess
from workers.topology import Protocol


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys of the worker, where contracts and models come from, and `said` for the report.

    `catalogue` is what the reader knows, where that is more than the user's contracts.
    """

    worker: Mapping[str, Any] = field(default_factory=dict)
    contracts: Mapping[str, Any] | None = None
    models: Path | None = None
    catalogue: Catalogue | None = None
    said: tuple[str, ...] = ()


def for_broker(setup: Setup, broker: AnyBroker) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the broker asks for: short sessions, so that a member that dies is missed soon."""
    embedded = isinstance(broker, EmbeddedBroker)
    classic = setup.worker.protocol is Protocol.CLASSIC
    if not (classic or embedded):
        return {}, ()
    ours = not isinstance(broker, RealKafka) or isinstance(broker.server, LocalProcess)
    session = 1500 if ours else 6000
    consumer = {"session.timeout.ms": session, "heartbeat.interval.ms": session // 3}
    said = [f"session.timeout.ms {session}"]
    changed: dict[str, Any] = {"consumer": consumer}
    if not classic:
        changed["protocol"] = Protocol.CLASSIC.value
        said.append("protocol classic (the embedded broker has no other)")
    return changed, tuple(said)


def merged(document: Mapping[str, Any], *more: Mapping[str, Any]) -> dict[str, Any]:
    """Changes over the document; of mappings key by key, where None takes a key away."""
    made: dict[str, Any] = {}
    for changes in more:
        for key, value in changes.items():
            before = made.get(key, document.get(key))
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                both = {**before, **value}
                made[key] = {name: each for name, each in both.items() if each is not None}
            else:
                made[key] = value
    return made
