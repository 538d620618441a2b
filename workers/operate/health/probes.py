"""What a probe is answered: is the process alive, and is it ready? Pure, over a snapshot.

Alive is about this process alone. Whether brokers answer is never part of it: an outage of theirs
would restart every worker at once, and help nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from workers.stream.snapshot import PauseKind, Phase, Snapshot

STARTUP = 600.0
"""Seconds that contracts, models and the first producer may take without a sign of life."""
BATCHES = 3
"""A publish may take so many times the patience: it waits for brokers, and has its own timeouts."""


class Code(StrEnum):
    """Why a worker is not ready, or what to know though it is."""

    STARTING = "starting"
    DRAINING = "draining"
    STOPPED = "stopped"
    STUCK = "stuck"
    NO_ASSIGNMENT = "no_assignment"
    NO_MODEL = "no_model"
    MODEL_BYPASSED = "model_bypassed"
    CONTRACTS_REFUSED = "contracts_refused"
    PRODUCER_UNWELL = "producer_unwell"
    PARTITION_PAUSED = "partition_paused"
    ALL_PARTITIONS_PAUSED = "all_partitions_paused"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Reason:
    """One of them. One that does not block is only told."""

    code: Code
    why: str
    blocks: bool = True
    partition: int | None = None


def stuck(snapshot: Snapshot, now: float, patience: float) -> str | None:
    """Why the process is not alive; None: it is. `now` is monotonic."""
    silent = now - snapshot.last_poll
    if snapshot.phase is Phase.STARTING:
        return f"starting, and no sign of life for {silent:.0f} s" if silent > STARTUP else None
    if silent > patience:
        return f"no sign of life of the loop for {silent:.0f} s; {patience:g} s are allowed"
    if snapshot.publishing is not None and now - snapshot.publishing > BATCHES * patience:
        return f"a batch has been on its way to the broker for {now - snapshot.publishing:.0f} s"
    return None


def reasons(snapshot: Snapshot, now: float, patience: float) -> list[Reason]:
    """What keeps the worker from its work, and what is to be known of it."""
    found = []
    if (why := stuck(snapshot, now, patience)) is not None:
        found.append(Reason(Code.STUCK, why))
    found += _life(snapshot)
    if snapshot.phase is Phase.RUNNING:
        found += _work(snapshot, now)
        found += _pauses(snapshot)
    return found


def _life(snapshot: Snapshot) -> Iterator[Reason]:
    match snapshot.phase:
        case Phase.STARTING:
            yield Reason(Code.STARTING, "contracts, models and the first producer are being made")
        case Phase.DRAINING:
            yield Reason(Code.DRAINING, "what is under way is finished, no more is read")
        case Phase.STOPPED:
            yield Reason(Code.STOPPED, "the loop has ended")
        case Phase.RUNNING:
            pass


def _work(snapshot: Snapshot, now: float) -> Iterator[Reason]:
    if not snapshot.assigned:
        yield Reason(Code.NO_ASSIGNMENT, "the group has given this member nothing yet")
    if not snapshot.models:
        yield Reason(Code.NO_MODEL, "no model is loaded")
    for model in snapshot.models:
        if model.bypassed is not None:
            why = f"{model.block}: decided without {model.name}: {model.bypassed}"
            yield Reason(Code.MODEL_BYPASSED, why, blocks=False)
    if snapshot.contracts_refused is not None:
        # Those before stay in use: nothing waits for the newer ones.
        yield Reason(Code.CONTRACTS_REFUSED, snapshot.contracts_refused, blocks=False)
    producer = snapshot.producer
    if not producer.well:
        why = f"for {now - producer.since:.0f} s: {producer.why}"
        yield Reason(Code.PRODUCER_UNWELL, why)


def _pauses(snapshot: Snapshot) -> Iterator[Reason]:
    """Retry topics wait as a matter of course; nobody needs to be told."""
    paused = [
        (view.partition, view.pause)
        for view in snapshot.partitions
        if view.pause is not None and view.pause.kind is not PauseKind.RETRY
    ]
    if snapshot.paused is not None:
        yield Reason(Code.PAUSED, snapshot.paused, blocks=False)
    if paused and len(paused) == len(snapshot.partitions):
        yield Reason(Code.ALL_PARTITIONS_PAUSED, f"none of {len(paused)} partitions is read")
    for partition, pause in paused:
        why = f"{pause.kind.value}: {pause.why}"
        yield Reason(Code.PARTITION_PAUSED, why, blocks=False, partition=partition)
