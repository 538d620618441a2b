"""The challenger beside a worker's model."""

from __future__ import annotations

from collections.abc import Sequence

from workers.contracts.comparison import comparison_contract
from workers.contracts.resolver import Resolver
from workers.models.shadow.challenger import Challenger
from workers.models.shadow.challenger import challenger as challenger_of
from workers.models.shadow.comparison import Recorder as ComparisonRecorder
from workers.models.shadow.counts import CountsState as ShadowCountsState
from workers.models.shadow.shadow import Shadow
from workers.models.store import Store
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.stream.journal import Journal
from workers.stream.shadowing import ComparisonProducer, Shadowing
from workers.stream.shadowing import noted as shadow_noted
from workers.topology import Worker
from workers.wiring.models import proven


def shadowing_of(  # noqa: PLR0913  every part is given, by keyword
    *,
    worker: Worker,
    store: Store,
    resolver: Resolver,
    champion: str,
    config: Config,
    clock: Clock,
    journal: Journal,
    command: Sequence[str],
) -> Shadowing | None:
    """The worker's shadow, where its topology has one."""
    if worker.shadow is None:
        return None
    name, counts = worker.model.name, ShadowCountsState()
    journal.counts.shadow = counts

    def prove(version: str) -> Challenger:
        bundle, contract = proven(store, name, version, resolver.catalogue, "challenger")
        return challenger_of(bundle, contract.schema)

    written = comparison_contract(resolver.catalogue, worker.shadow.subject)
    shadow = Shadow(
        settings=worker.shadow,
        champion=champion,
        find=lambda: store.aliases(name).challenger,
        prove=prove,
        recorder=ComparisonRecorder(written.frame),
        publisher=ComparisonProducer(config, worker.shadow.topic, counts, clock, journal),
        counts=counts,
        note=shadow_noted(journal),
        poll=worker.model.poll,
        command=command,
    )
    return Shadowing(worker.name, shadow)
