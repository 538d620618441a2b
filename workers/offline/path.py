"""The path of a worker, without its stream: what the loop does around `enrich`, and no more."""

from __future__ import annotations

import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

from workers.contracts.framing import SchemaKey
from workers.contracts.resolver import Resolver
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.versions import Version
from workers.errors import ContractError
from workers.stream.outgoing import held_to_size
from workers.topology import Shape

PATIENCE = 60.0
"""Seconds that a registry may take to say what a schema id is."""


class WorkerPath:
    """Batches in, outcomes out, as a worker's loop has them before it publishes.

    Schema ids that no contract has so far are asked for, as the worker does; what its output topic
    would refuse for its size is rejected. Without canary, shadow and bypass: what they do changes
    while a stream runs.
    """

    def __init__(self, enricher: Enricher, resolver: Resolver, max_bytes: int) -> None:
        """Takes over the resolver; `max_bytes` is the output's `max_message_bytes`."""
        self.enricher = enricher
        self._resolver = resolver
        self._limit = max_bytes
        self._bound = resolver.snapshot.revision
        self._denied = set[SchemaKey]()

    @property
    def newest(self) -> Version:
        """The newest input version that has an output derived from it.

        Raises:
            ContractError: there is none.
        """
        if self.enricher.policy.shape is Shape.HEADERS:
            raise ContractError(
                "output.shape is headers, and events in a file have none: name a worker with "
                "`shape: derived`, or read the decisions topic"
            )
        direct = [v for v in self.enricher.binding.versions.values() if v.rewriter is None]
        if not direct:
            raise ContractError("no input version has an output derived from it")
        return max(direct, key=lambda version: version.source.version)

    def enrich(self, batch: Batch) -> Outcomes:
        """Account for every row of the batch.

        Raises:
            Halt: the model failed and the policy is to halt.
            ContractError: a schema id is not known and the registry does not answer; or what it
                answered cannot be bound.
        """
        outcomes = self.enricher.enrich(batch)
        if outcomes.unknown and self._learn(outcomes.unknown.keys()):
            outcomes = self.enricher.enrich(batch)
        return held_to_size(outcomes, self._limit)

    def _learn(self, keys: Collection[SchemaKey]) -> bool:
        """Ask for these, each once; is there anything new?"""
        asked = [key for key in keys if key not in self._denied]
        self._resolver.ask(asked)
        for key in asked:
            self._settle(key)
        snapshot = self._resolver.snapshot
        if snapshot.revision == self._bound:
            return False
        self.enricher.rebind(snapshot.catalogue)
        self._bound = snapshot.revision
        return True

    def _settle(self, key: SchemaKey) -> None:
        pause = threading.Event()
        for _ in range(int(PATIENCE * 20)):
            if self._resolver.settled(key):
                if self._resolver.catalogue.find(key) is None:
                    self._denied.add(key)
                return
            # A denial ends after a while: what was answered once may be a question again.
            self._resolver.ask([key])
            pause.wait(0.05)
        raise ContractError(self._resolver.why(key))

    def close(self) -> None:
        """Nobody asks for schemas any more."""
        self._resolver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()
