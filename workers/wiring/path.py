"""The path of a record: contracts and models as they are now."""

from __future__ import annotations

from workers.contracts.catalogue import Catalogue
from workers.contracts.comparison import comparison_contract
from workers.enrich.path import Enricher
from workers.errors import Halt, ModelError
from workers.models.model import Model
from workers.models.opening import open_kept, open_store
from workers.offline.path import WorkerPath
from workers.topology import Topology, Worker
from workers.wiring.contracts import contracts_of
from workers.wiring.declared import models_of, policy_of
from workers.wiring.models import load_model


def build_enricher(topology: Topology, worker: Worker) -> Enricher:
    """The path of a worker with contracts and model as they are now.

    The bundle is proven in a child process first.

    Raises:
        ContractError: a contract is missing, malformed or does not fit.
        ModelError: the bundle is missing, damaged, or scores its golden rows otherwise.
    """
    resolver = contracts_of(topology, worker)
    resolver.close()
    return _enricher(topology, worker, resolver.catalogue)


def build_path(topology: Topology, worker: Worker) -> WorkerPath:
    """The path of a worker for whole batches, without its stream. The caller closes it.

    Raises:
        ContractError: as `build_enricher`.
        ModelError: likewise.
    """
    resolver = contracts_of(topology, worker)
    # History has no age: what is scored again is scored as it would have been.
    timeless = worker.model_copy(update={"staleness": None})
    try:
        enricher = _enricher(topology, timeless, resolver.catalogue)
    except Halt:
        resolver.close()
        raise
    return WorkerPath(enricher, resolver, worker.output.max_message_bytes)


def prove(topology: Topology, name: str, version: str) -> Model:
    """Hold a version to every worker that serves the model by an alias, as those will.

    The model as the last of them loads it.

    Raises:
        ContractError: a contract is missing or does not fit.
        ModelError: the version is missing, damaged, or does not fit a worker's contracts.
    """
    store = open_store(topology.models)
    served = {
        worker.name: [block for block, ref in models_of(worker).items() if ref.name == name]
        for worker in topology.workers.values()
    }
    if not any(served.values()):
        raise ModelError(f"no worker of the topology serves model {name}")
    checked = list[Model]()
    for worker in (topology.workers[worker] for worker, blocks in served.items() if blocks):
        resolver = contracts_of(topology, worker)
        resolver.close()
        refs, contracts = models_of(worker), resolver.catalogue
        models = [
            load_model(store, worker, ref, contracts, version if ref.name == name else None)
            for ref in refs.values()
        ]
        Enricher(policy_of(worker), contracts, *models)
        checked += [model for model in models if model.manifest.name == name]
    return checked[-1]


def _enricher(topology: Topology, worker: Worker, contracts: Catalogue) -> Enricher:
    if worker.shadow is not None:
        comparison_contract(contracts, worker.shadow.subject)
    store = open_kept(topology.models, _cannot_keep)
    loaded = [load_model(store, worker, ref, contracts) for ref in models_of(worker).values()]
    return Enricher(policy_of(worker), contracts, *loaded)


def _cannot_keep(why: str) -> None:
    """At the start: later it would be too late to say so."""
    raise ModelError(f"models.cache: {why}")
