"""What a topology says of a worker, in the words of its parts."""

from __future__ import annotations

from workers.contracts.derive import BLOCK_FIELD
from workers.enrich.policy import Logged, Policy
from workers.errors import TopologyError
from workers.topology import EventKey, ModelRef, Topology, Worker


def pick(topology: Topology, name: str | None) -> Worker:
    """The worker of that name; the only one, besides those that retry for it, where none is named.

    Raises:
        TopologyError: there is none, or there are several and none is named.
    """
    known = ", ".join(topology.workers)
    if name is None:
        own = [worker for worker in topology.workers.values() if worker.tier is None]
        if len(own) > 1:
            raise TopologyError(f"name one of the workers: {known}")
        return own[0]
    if name not in topology.workers:
        raise TopologyError(f"no worker {name}; topology.yaml has {known}")
    return topology.workers[name]


def models_of(worker: Worker) -> dict[str, ModelRef]:
    """What scores, by block, in the order of the output's fields."""
    others = {name: block.model for name, block in worker.blocks.items()}
    return {BLOCK_FIELD: worker.model, **others}


def topics_of(worker: Worker) -> dict[str, str]:
    """The worker's topics by role."""
    topics = {
        "input": worker.input.topic,
        "output": worker.output.topic,
        "dead_letter": worker.dead_letter.topic,
    }
    if worker.decisions is not None:
        topics["decisions"] = worker.decisions.topic
    if worker.shadow is not None:
        topics["shadow"] = worker.shadow.topic
    if worker.dead_letter.ledger is not None:
        topics["ledger"] = worker.dead_letter.ledger.topic
    if worker.retry_topic is not None:
        topics["retry"] = worker.retry_topic.topic
    return topics


def policy_of(worker: Worker) -> Policy:
    """What a worker's topology says of its path."""
    return Policy(
        worker=worker.known_as,
        input_subject=worker.input.subject,
        output_subject=worker.output.subject,
        decisions_subject=worker.decisions.subject if worker.decisions else None,
        tombstones=worker.tombstones,
        unframed=worker.unframed,
        blocks=tuple(models_of(worker)),
        rules={BLOCK_FIELD: worker.rules, **{n: b.rules for n, b in worker.blocks.items()}},
        shadow=worker.shadow is not None,
        logged=_logged(worker),
        aliases={n: ref.alias for n, ref in models_of(worker).items() if ref.alias is not None},
        exploration=worker.exploration,
        shape=worker.output.shape,
        whole=worker.output.block,
        staleness=worker.staleness,
        on_model_failure=worker.on_model_failure,
        max_payload=worker.limits.max_payload_bytes,
    )


def _logged(worker: Worker) -> Logged:
    decisions = worker.decisions
    if decisions is None:
        return Logged()
    match decisions.features:
        case "all":
            features = None
        case "none":
            features = frozenset[str]()
        case named:
            features = frozenset(named)
    key = decisions.event_key is EventKey.KEEP
    return Logged(features=features, sample=decisions.sample, key=key)
