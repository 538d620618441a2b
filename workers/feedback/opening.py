"""A loop of a topology, with what its steps need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from workers.contracts.catalogue import Catalogue
from workers.contracts.opening import open_contracts
from workers.errors import TopologyError
from workers.feedback.collect import COMPARISONS, DECISIONS, OUTCOMES, Source
from workers.feedback.lake.commits import Log
from workers.feedback.lake.place import open_place
from workers.feedback.records import RecordReader
from workers.models.opening import open_store
from workers.models.store import Store
from workers.stream.clock import Clock
from workers.topology import Feedback, ModelRef, Topology, Worker
from workers.wiring import build_range_reader, models_of


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop and what it is about."""

    topology: Topology
    feedback: Feedback
    worker: Worker
    model: ModelRef
    log: Log

    @property
    def store(self) -> Store:
        """Where its model's versions are."""
        return open_store(self.topology.models)


def open_loop(topology: Topology, name: str | None) -> Loop:
    """The loop of that name; the only one where none is named.

    Raises:
        TopologyError: there is none, or there are several and none is named.
        LakeFault: its lake cannot be opened.
    """
    known = topology.feedback
    if name is None and len(known) != 1:
        listed = ", ".join(known) or "none; write one under `feedback:`"
        raise TopologyError(f"name one of the feedback loops: {listed}")
    if name is not None and name not in known:
        raise TopologyError(f"no feedback loop {name}; topology.yaml has {', '.join(known)}")
    loop = known[next(iter(known)) if name is None else name]
    worker = topology.workers[loop.worker]
    place = open_place(loop.lake)
    return Loop(topology, loop, worker, models_of(worker)[loop.block], Log(place, loop.name))


def contracts_of(loop: Loop) -> Catalogue:
    """The contracts of the loop's topics and of its worker's input, as they are now.

    Raises:
        ContractError: one is missing or malformed.
    """
    subjects = [subject for _, subject, _ in _topics(loop)]
    resolver = open_contracts(loop.topology.contracts, [*subjects, loop.worker.input.subject])
    resolver.close()
    return resolver.catalogue


@contextmanager
def sources(loop: Loop, clock: Clock) -> Iterator[list[Source]]:
    """Readers of the loop's topics.

    Raises:
        BrokerUnreachable: no broker answered.
        ClientHalt: a topic is missing.
        ContractError: a contract is.
    """
    contracts = contracts_of(loop)
    with ExitStack() as opened:
        found = []
        for table, subject, topic in _topics(loop):
            records = RecordReader(contracts, subject)
            reader, partitions = build_range_reader(loop.topology, loop.worker, topic, clock)
            opened.callback(reader.close)
            found.append(Source(table, reader, partitions, records))
        yield found


def _topics(loop: Loop) -> list[tuple[str, str, str]]:
    worker, outcomes = loop.worker, loop.feedback.outcomes
    found = [(OUTCOMES, outcomes.subject, outcomes.topic)]
    if worker.decisions is not None:
        found.insert(0, (DECISIONS, worker.decisions.subject, worker.decisions.topic))
    if worker.shadow is not None:
        found.append((COMPARISONS, worker.shadow.subject, worker.shadow.topic))
    return found
