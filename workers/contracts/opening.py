"""A worker's contracts as its topology names them: a registry with its cache, or a directory."""

from __future__ import annotations

from collections.abc import Sequence

from workers.contracts.cache import DiskCache, cache_folder
from workers.contracts.notes import Note, unnoted
from workers.contracts.questions import Pace
from workers.contracts.resolver import Resolver
from workers.contracts.schema import SchemaLimits
from workers.contracts.sources import DirectorySource, registry_source
from workers.errors import ContractError
from workers.topology import user_cache
from workers.topology.contracts import ContractsPlace


def open_contracts(
    place: ContractsPlace,
    subjects: Sequence[str],
    limits: SchemaLimits | None = None,
    note: Note = unnoted,
) -> Resolver:
    """The contracts of these subjects, filled, and followed from now on until `close`.

    Raises:
        ContractError: a subject is nowhere, or what is there cannot be used.
    """
    registry = place.registry
    if registry is not None:
        kept = registry.cache or user_cache()
        cache = DiskCache(cache_folder(kept, str(registry.url), registry.context), limits)
        pace = Pace(refresh=registry.refresh, unknown_for=registry.unknown_for)
        source = registry_source(registry, limits)
        resolver = Resolver(source, subjects, pace=pace, cache=cache, note=note)
    elif place.directory is not None:
        resolver = Resolver(DirectorySource(place.directory, limits), subjects, note=note)
    else:
        raise ContractError("contracts: neither a directory nor a registry")
    resolver.start()
    return resolver
