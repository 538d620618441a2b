"""`shape: headers`: the record as it was, and what the model said of it behind its own headers."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest

from tests.traffic import broken, good, split
from workers.contracts.catalogue import Catalogue
from workers.contracts.derive import enrichment_block
from workers.contracts.framing import HEADER, Header, frame
from workers.enrich.path import Enricher
from workers.errors import ContractError
from workers.stream.outgoing import held_to_size
from workers.stream.records import header_bytes
from workers.testing import (
    Driver,
    EmbeddedBroker,
    OutRecord,
    Reader,
    RealKafka,
    Sent,
    isolated,
    produce,
)
from workers.topology import Delivery, Mode, Shape, Topology, WholeBlock, Worker
from workers.wiring import build_enricher, build_path, pick

AnyBroker = EmbeddedBroker | RealKafka
FIELDS = [field for field in enrichment_block().field_names if field != "reasons"]
NAMES = [*(f"enrichment.{field}" for field in FIELDS), "enrichment.block"]


def beside(topology: Topology, *, whole: WholeBlock = WholeBlock.JSON) -> tuple[Topology, Worker]:
    """The demo's worker as a sidecar whose decisions are headers."""
    worker = pick(topology, None)
    output = worker.output.model_copy(
        update={"shape": Shape.HEADERS, "subject": worker.input.subject, "block": whole}
    )
    moved = worker.model_copy(update={"mode": Mode.SIDECAR, "output": output})
    return topology.model_copy(update={"workers": {worker.name: moved}}), moved


def traffic(flights: Sequence[bytes]) -> list[Sent]:
    """Real events with headers of every kind, a tombstone, and pills."""
    odd: list[Header] = [("twice", b"1"), ("none", None), ("twice", b"\xff"), ("", b"")]
    forged: list[Header] = [("enrichment.decision", b"forged")]
    records = good(flights[:500])
    records[3] = replace(records[3], headers=[*odd, *records[3].headers])
    records[7] = replace(records[7], headers=[])
    records[11] = replace(records[11], headers=forged)
    records[13] = replace(records[13], key=None)
    return [*records, Sent(None, key=b"gone", headers=odd, timestamp=1), *broken(flights[0])]


def tail(record: OutRecord) -> dict[str, str]:
    """The headers that a worker added, one a field."""
    return {name: (content or b"").decode() for name, content in record.headers[-len(NAMES) : -1]}


def test_a_reader_that_ignores_headers_sees_the_source(
    broker: AnyBroker, delivery: Delivery, topology: Topology, flights: list[bytes]
) -> None:
    """Keys, values, timestamps and headers in their order; what is added stands behind them."""
    base, worker = beside(topology)
    top, worker = isolated(base, worker, broker, delivery=delivery)
    records = traffic(flights)
    produce(broker.bootstrap_servers, worker.input.topic, records)
    topics = (worker.output.topic, worker.dead_letter.topic)

    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(broker.bootstrap_servers, *topics) as reader,
        Reader(broker.bootstrap_servers, worker.input.topic) as source,
    ):
        reader.until(lambda seen: len(seen) >= len(records))
        source.until(lambda seen: len(seen) >= len(records))
        driver.stop()
        reader.read(0.5)

    passed, dead = split(reader.records, worker.dead_letter.topic)
    assert (len(passed), len(dead)) == (501, len(broken(flights[0])))
    there = {(r.key, r.timestamp, r.value): r for r in source.records}
    assert len(there) >= 501
    for record in passed:
        original = there[record.key, record.timestamp, record.value]
        kept = record.headers[: len(original.headers)]
        added = record.headers[len(original.headers) :]
        assert kept == original.headers
        assert [name for name, _ in added] == (NAMES if record.value is not None else [])
    assert {r.header("enrichment.decision") for r in passed if r.value} <= {
        "on_time",
        "review",
        "late",
    }


@pytest.mark.parametrize("whole", WholeBlock)
def test_headers_say_what_the_decisions_topic_says(
    embedded: EmbeddedBroker,
    topology: Topology,
    flights: list[bytes],
    contracts: Catalogue,
    whole: WholeBlock,
) -> None:
    """Each field as text that reads back as the same, and the whole block as declared."""
    base, worker = beside(topology, whole=whole)
    top, worker = isolated(base, worker, embedded)
    assert worker.decisions is not None
    produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:300]))

    with (
        Driver(top, worker, build_enricher(top, worker)),
        Reader(embedded.bootstrap_servers, worker.output.topic, worker.decisions.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 600)

    passed, decisions = split(reader.records, worker.decisions.topic)
    said = {block["decision_id"]: block for block in (decision(r, contracts) for r in decisions)}
    assert len(passed) == len(said) == 300
    names = enrichment_block().field_names
    for record in passed:
        found, block = tail(record), said[record.header("enrichment.decision_id")]
        assert found["enrichment.score"] == repr(block["score"])
        assert float(found["enrichment.score"]) == block["score"]
        assert found["enrichment.fallback"] == "false"
        assert found["enrichment.fallback_reason"] == found["enrichment.rule"] == ""
        moment = datetime.fromisoformat(found["enrichment.scored_at"])
        assert moment == block["scored_at"]
        for field in ("model", "model_version", "decision", "arm"):
            assert found[f"enrichment.{field}"] == block[field]
        last = record.headers[-1][1] or b""
        # A decision record begins with the block; what is to learn from stands behind it.
        assert whole_of(last, contracts, whole) == {name: block[name] for name in names}


def decision(record: OutRecord, contracts: Catalogue) -> dict[str, Any]:
    """A decision record as a reader has it."""
    return framed(record.value or b"", contracts)


def framed(value: bytes, contracts: Catalogue) -> dict[str, Any]:
    """A framed block."""
    found = contracts.find(int.from_bytes(value[1:5], "big"))
    assert found is not None
    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), found.schema.parsed, None)
    assert isinstance(read, dict)
    return read


def whole_of(content: bytes, contracts: Catalogue, whole: WholeBlock) -> dict[str, Any]:
    """The header `enrichment.block`, read."""
    if whole is WholeBlock.AVRO:
        return framed(content, contracts)
    block: dict[str, Any] = json.loads(content)
    return {**block, "scored_at": datetime.fromtimestamp(block["scored_at"] / 1000, UTC)}


def test_a_schema_id_in_a_header_stays_where_it_is(
    embedded: EmbeddedBroker, topology: Topology, flights: list[bytes]
) -> None:
    """The bare datum passes with the header that says what it is."""
    base, worker = beside(topology)
    top, worker = isolated(base, worker, embedded)
    how: Header = (HEADER, frame(1))
    produce(embedded.bootstrap_servers, worker.input.topic, [Sent(flights[0], headers=[how])])

    with (
        Driver(top, worker, build_enricher(top, worker)),
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 1)

    (record,) = reader.records
    assert record.value == flights[0]
    assert record.headers[0] == how
    assert record.header("enrichment.decision")


def test_the_size_limit_counts_the_headers_that_are_added(
    topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """What would be too large with them is rejected, alone, and leaves nothing behind."""
    from tests.enrich.test_path import batch

    base, worker = beside(topology)
    path = build_enricher(base, worker)
    outcomes = path.enrich(batch([s.value for s in good(flights[:3])]))
    sizes = [
        3 + len(outcomes.enriched[row] or b"") + header_bytes(outcomes.added[row])
        for row in range(3)
    ]
    assert len(set(sizes)) > 1

    held = held_to_size(outcomes, max(sizes) - 1)

    over = {row for row, size in enumerate(sizes) if size == max(sizes)}
    assert held.rejected.keys() == over
    assert held.added.keys() == held.enriched.keys() == held.decisions.keys() == {0, 1, 2} - over
    assert held_to_size(outcomes, max(sizes)) is outcomes


def test_a_file_has_no_headers(topology: Topology) -> None:
    """So `workers score` refuses such a worker, and says what to read."""
    base, worker = beside(topology)

    with build_path(base, worker) as path, pytest.raises(ContractError, match="decisions topic"):
        _ = path.newest
