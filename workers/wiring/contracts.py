"""The contracts of a worker."""

from __future__ import annotations

from workers.contracts.notes import unnoted
from workers.contracts.opening import open_contracts
from workers.contracts.resolver import Resolver
from workers.contracts.schema import SchemaLimits
from workers.stream.journal import Journal
from workers.stream.schemas import noted
from workers.topology import Topology, Worker


def contracts_of(topology: Topology, worker: Worker, journal: Journal | None = None) -> Resolver:
    """The contracts that a worker needs, followed from now on until `close`.

    Raises:
        ContractError: one is missing or malformed.
    """
    subjects = [worker.input.subject, worker.output.subject]
    if worker.decisions is not None:
        subjects.append(worker.decisions.subject)
    if worker.shadow is not None:
        subjects.append(worker.shadow.subject)
    limits = SchemaLimits(nesting=worker.limits.max_nesting, fields=worker.limits.max_fields)
    note = unnoted if journal is None else noted(journal)
    return open_contracts(topology.contracts, list(dict.fromkeys(subjects)), limits, note)
