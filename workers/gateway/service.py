"""One worker as the gateway serves it: its path, its contracts, how its events are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.framing import PREFIX
from workers.contracts.jsonform import JsonForm
from workers.contracts.resolver import Resolver
from workers.contracts.schema import Schema
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.policy import Effort
from workers.errors import ContractError, Halt
from workers.gateway.answers import Decided, Renderer
from workers.gateway.events import Reading, key_bytes
from workers.stream.journal import Event, Journal
from workers.stream.shadowing import Shadowing
from workers.stream.slot import Slot
from workers.topology import Worker
from workers.topology.gateway import WorkerGateway


@dataclass(frozen=True, slots=True)
class Readings:
    """How events are read, by the contract's version; `newest` where a request names none."""

    newest: int
    by_version: Mapping[int, Reading]
    schemas: Mapping[int, Schema]
    keyed: Mapping[bytes, Keyed]

    def of(self, version: str | None) -> Reading | None:
        """The reading of a version as a request names it; None where it is none of them."""
        if version is None:
            return self.by_version[self.newest]
        found = {str(number): reading for number, reading in self.by_version.items()}
        return found.get(version)

    def keys(self, values: list[bytes]) -> list[bytes | None]:
        """Keys of framed events, each read as the version that wrote it."""
        found: list[bytes | None] = [None] * len(values)
        for frame, keyed in self.keyed.items():
            rows = [row for row, value in enumerate(values) if value.startswith(frame)]
            for row, key in zip(rows, keyed.keys([values[row] for row in rows]), strict=True):
                found[row] = key
        return found


class Service:
    """The path of a worker. `before`, `enrich`, `decided` and `after` are the scoring thread's."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        worker: Worker,
        settings: WorkerGateway,
        enricher: Enricher,
        resolver: Resolver,
        slot: Slot,
        shadow: Shadowing | None,
        journal: Journal,
    ) -> None:
        """Takes over all of it."""
        if worker.decisions is None:
            raise ContractError(f"worker {worker.name} has no decisions topic")
        self.worker = worker
        self.settings = settings
        self.decisions_topic = worker.decisions.topic
        self.enricher = enricher
        self._resolver = resolver
        self._slot = slot
        self._shadow = shadow
        self._journal = journal
        self._revision = resolver.snapshot.revision
        self.renderer = Renderer(enricher.binding.block, enricher.policy.blocks)
        self.readings = self._read(enricher)

    def start(self) -> None:
        """Follow models from now on."""
        self._slot.start()
        if self._shadow is not None:
            self._shadow.start()

    def close(self) -> None:
        """End."""
        if self._shadow is not None:
            self._shadow.close()
        self._slot.close()
        self._resolver.close()

    def before(self) -> None:
        """Take newer models and contracts."""
        self._slot.take()
        snapshot = self._resolver.snapshot
        if snapshot.revision != self._revision:
            self._revision = snapshot.revision
            self._rebind(snapshot.catalogue)

    def _rebind(self, catalogue: Catalogue) -> None:
        try:
            self.enricher.rebind(catalogue)
        except Halt as halt:
            # A contract that does not fit never replaces ones that work.
            self._journal.error(Event.CONTRACTS_REFUSED, why=str(halt))
            return
        self._journal.info(Event.CONTRACTS_TAKEN, versions=[str(entry) for entry in catalogue])
        self.renderer = Renderer(self.enricher.binding.block, self.enricher.policy.blocks)
        self.readings = self._read(self.enricher)

    def enrich(self, batch: Batch, effort: Effort) -> Outcomes:
        """As the stream's; `unknown` are only schemas that are still being looked up."""
        outcomes = self.enricher.enrich(batch, effort)
        if not outcomes.unknown:
            return outcomes
        self._resolver.ask(outcomes.unknown)
        pending = {
            key: rows for key, rows in outcomes.unknown.items() if not self._resolver.settled(key)
        }
        return replace(outcomes, unknown=pending)

    def decided(self, records: Sequence[tuple[bytes, ...]]) -> list[Decided]:
        """Answers of decision records."""
        return self.renderer.decided(records)

    def after(self, outcomes: Outcomes) -> None:
        """The challenger may have its turn."""
        if self._shadow is not None:
            self._shadow.offer(outcomes)

    def _read(self, enricher: Enricher) -> Readings:
        found, schemas, keyed = dict[int, Reading](), dict[int, Schema](), dict[bytes, Keyed]()
        direct, name = list[int](), self.settings.key
        for version in enricher.binding.versions.values():
            number = version.source.version
            if version.source.id is None or number in found:
                continue
            schema, frame = version.source.schema, version.source.frame
            schemas[number] = schema
            found[number] = Reading(JsonForm(schema), frame, name)
            if name is not None:
                keyed[frame] = Keyed(schema, name)
            if version.rewriter is None:
                direct.append(number)
        return Readings(max(direct or found), found, schemas, keyed)


class Keyed:
    """Reads keys off framed events of one version."""

    def __init__(self, schema: Schema, name: str) -> None:
        """Compile it.

        Raises:
            ContractError: there is no such field, or it cannot be a key.
        """
        kinds = dict(schema.root.children)
        if name not in kinds:
            raise ContractError(f"gateway.key: {schema.full_name} has no field {name}")
        node = kinds[name].nullable or kinds[name]
        if node.kind not in ("string", "enum", "int", "long") or node.logical is not None:
            raise ContractError(
                f"gateway.key: field {name} is {node.logical or node.kind}; text, an enum or an "
                "integer can be a key"
            )
        self._name = name
        self._decoder = Decoder(schema)

    def keys(self, values: list[bytes]) -> list[bytes | None]:
        """A key for each value; None where it cannot be read: the path will say why."""
        decoded = self._decoder.decode([value[PREFIX:] for value in values])
        found: list[bytes | None] = [None] * len(values)
        texts = decoded.table.column(self._name).to_pylist() if decoded.rows else []
        for row, text in zip(decoded.rows, texts, strict=True):
            found[row] = key_bytes(text)
        return found
