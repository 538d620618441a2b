"""What a worker's loop does around `enrich`, done without the loop."""

from __future__ import annotations

import threading
from pathlib import Path

import fastavro
import pytest

from tests.contracts.stub_registry import StubRegistry, status
from tests.enrich.test_path import batch
from tests.promises.test_new_versions import (  # noqa: F401  fixtures
    NEW,
    by_registry,
    mixed,
    register,
    registry,
    released,
    second,
)
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.contracts.schema import Schema
from workers.errors import ContractError, Verdict
from workers.offline import path as offline
from workers.offline.score import score_batches
from workers.topology import Topology
from workers.wiring import build_path, pick


def test_a_schema_that_was_registered_since_is_asked_for(
    by_registry: Topology,  # noqa: F811
    registry: StubRegistry,  # noqa: F811
    contracts: Catalogue,
    second: Schema,  # noqa: F811
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """As the worker does; its events are written as the version that the file began with."""
    sent = mixed(contracts, second, flights, new_in=range(4))
    worker, target = pick(by_registry, None), tmp_path / "out.avro"
    with build_path(by_registry, worker) as path:
        for entry in released(second):
            register(registry, entry)

        tally = score_batches(path, [batch([s.value for s in sent])], target, facts={})

    assert (tally.enriched, tally.rejected.total()) == (160, 0)
    with target.open("rb") as opened:
        events = [event for event in fastavro.reader(opened) if isinstance(event, dict)]
    assert [event["flight_id"] for event in events[:40]] == [e["flight_id"] for e in events[40:80]]
    assert "gate" not in events[-1]


def test_a_registry_that_does_not_answer_is_not_the_records_fault(
    by_registry: Topology,  # noqa: F811
    registry: StubRegistry,  # noqa: F811
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scoring ends and says so; an id that the registry denies is that record's."""
    monkeypatch.setattr(offline, "PATIENCE", 3.0)
    before = set(threading.enumerate())
    with build_path(by_registry, pick(by_registry, None)) as path:
        denied = path.enrich(batch([frame(999) + flights[0], frame(1) + flights[1]]))
        registry.mood = status(503)

        with pytest.raises(ContractError, match=f"id {NEW} is not known"):
            path.enrich(batch([frame(NEW) + flights[0]]))

    assert denied.rejected[0].reject.verdict is Verdict.CONTRACT
    assert denied.enriched.keys() == {1}
    assert not [t for t in threading.enumerate() if t.name == "contracts" and t not in before]


def test_what_the_output_topic_would_refuse_is_rejected(
    topology: Topology, flights: list[bytes]
) -> None:
    """By the worker's own limit."""
    worker = pick(topology, None)
    output = worker.output.model_copy(update={"max_message_bytes": 100})
    with build_path(topology, worker.model_copy(update={"output": output})) as path:
        outcomes = path.enrich(batch([frame(1) + flights[0]]))

    assert outcomes.rejected[0].reject.code == "output_too_large"
