"""Contracts, models and the challenger, followed from now on: what changes while a worker runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.contracts.resolver import Resolver
from workers.enrich.path import Enricher
from workers.models.following import Follower, ModelEvent
from workers.models.model import Model
from workers.models.opening import open_kept
from workers.models.store import Store
from workers.stream.clients import comparison_config
from workers.stream.clock import Clock
from workers.stream.journal import Journal
from workers.stream.shadowing import Shadowing
from workers.stream.slot import Slot, noted
from workers.topology import ModelRef, Topology, Worker
from workers.wiring.contracts import contracts_of
from workers.wiring.declared import models_of
from workers.wiring.models import load_model
from workers.wiring.shadow import shadowing_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What follows, for a worker's stream and its gateway alike."""

    resolver: Resolver
    slot: Slot
    shadow: Shadowing | None


def followed(  # noqa: PLR0913  all of it is what a door to a worker has
    topology: Topology,
    worker: Worker,
    enricher: Enricher,
    *,
    slot: int,
    clock: Clock,
    journal: Journal,
    challenger: Sequence[str],
) -> Followed:
    """Contracts are followed at once, until they are closed; models once the slot is started."""
    resolver = contracts_of(topology, worker, journal)
    note = noted(journal)
    store = open_kept(topology.models, lambda why: note(ModelEvent.NOT_KEPT, {"why": why}))
    followers = [
        _follower(store, worker, ref, resolver, serving.model, journal)
        for ref, serving in zip(models_of(worker).values(), enricher.servings, strict=True)
    ]
    shadow = shadowing_of(
        worker=worker,
        store=store,
        resolver=resolver,
        champion=enricher.model.manifest.version,
        config=comparison_config(topology.broker, worker, slot),
        clock=clock,
        journal=journal,
        command=challenger,
    )
    models = Slot(followers, enricher.serve, journal)
    return Followed(resolver=resolver, slot=models, shadow=shadow)


def _follower(
    store: Store, worker: Worker, ref: ModelRef, resolver: Resolver, began: Model, journal: Journal
) -> Follower:
    return Follower(
        store=store,
        name=ref.name,
        alias=ref.alias,
        began=began,
        load=lambda version: load_model(store, worker, ref, resolver.catalogue, version),
        poll=ref.poll,
        note=noted(journal),
        worker=worker.name,
    )
