"""Models: proven in a child process, and loaded."""

from __future__ import annotations

from workers.contracts.catalogue import Catalogue, Registered
from workers.errors import ModelError
from workers.models.bundle import Bundle
from workers.models.checks import check_bundle
from workers.models.compiled.build import compiled_or_not
from workers.models.model import Model
from workers.models.store import Alias, Store
from workers.models.verify import verify
from workers.topology import Backend, ModelRef, Worker


def load_model(
    store: Store,
    worker: Worker,
    ref: ModelRef,
    contracts: Catalogue,
    version: str | None = None,
) -> Model:
    """A version of a worker's model, proven in a child process; by default the one it serves.

    Raises:
        ModelError: there is no such version, it is damaged, or scores its golden rows otherwise.
    """
    chosen = version or ref.version
    if chosen is None and ref.alias is not None:
        chosen = store.served(ref.name, ref.alias)
    if chosen is None:
        raise ModelError(
            f"model {ref.name} has no {ref.alias}; `workers models promote {ref.name} VERSION` "
            "makes one"
        )
    bundle, contract = proven(store, ref.name, chosen, contracts, ref.alias)
    model = Model(bundle, threads=worker.score_threads)
    if ref.backend is Backend.COMPILED:
        return compiled_or_not(model, bundle, contract.schema)
    return model


def proven(
    store: Store, name: str, version: str, contracts: Catalogue, alias: Alias | None
) -> tuple[Bundle, Registered]:
    """A version that was proven in a child process, and the contract that it is built for.

    `alias` is what it is served by, if it is.

    Raises:
        ModelError: there is no such version, it is damaged, or scores its golden rows otherwise.
    """
    fetched = store.fetch(name, version)
    bundle = fetched.bundle
    built = bundle.manifest.contract
    found = contracts.versions(built.subject).get(built.version)
    if found is None:
        # Without its contract nothing can be proven, and what is not proven is not loaded.
        raise ModelError(
            f"model {name} version {version} is built for {built.subject} version "
            f"{built.version}, which is not among the contracts"
        )
    check_bundle(bundle, found.schema)
    verify(bundle, found.schema)
    store.proven(fetched, alias)
    return bundle, found
