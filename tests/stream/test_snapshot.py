"""What a running worker says of itself, on the embedded broker."""

from __future__ import annotations

import pytest

from tests.traffic import good
from workers import __version__
from workers.enrich.path import Enricher
from workers.stream.snapshot import Phase, Snapshot
from workers.testing import Driver, EmbeddedBroker, isolated, produce
from workers.topology import Delivery, Topology
from workers.wiring import pick


def test_a_worker_that_has_done_everything_says_so(
    topology: Topology,
    enricher: Enricher,
    embedded: EmbeddedBroker,
    flights: list[bytes],
    delivery: Delivery,
) -> None:
    own, worker = isolated(topology, pick(topology, None), embedded, delivery=delivery)
    with Driver(own, worker, enricher) as driver:
        produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:500]))
        driver.until(lambda: _done(driver.board.snapshot) == 500)
        driver.until(lambda: driver.board.snapshot.lag == 0)
        found = driver.board.snapshot
        assert (found.worker, found.build) == (worker.name, __version__)
        assert found.phase is Phase.RUNNING
        assert found.producer.well
        assert [view.partition for view in found.partitions] == [0, 1, 2, 3]
        assert all(view.pause is None and view.time_lag(0) == 0.0 for view in found.partitions)
        (model,) = found.models
        assert (model.block, model.name, model.version) == ("enrichment", "flight-delay", "1")
        assert "flights-value version 1" in found.contracts
        assert found.counts["enriched"] == 500
        assert found.last_progress <= found.last_poll
    assert driver.board.snapshot.phase is Phase.STOPPED


def test_a_snapshot_never_changes(
    topology: Topology, enricher: Enricher, embedded: EmbeddedBroker, flights: list[bytes]
) -> None:
    own, worker = isolated(topology, pick(topology, None), embedded)
    with Driver(own, worker, enricher) as driver:
        driver.until(lambda: driver.board.snapshot.assigned)
        before = driver.board.snapshot
        counts = dict(before.counts)
        produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:50]))
        driver.until(lambda: _done(driver.board.snapshot) == 50)
        assert before.counts == counts
        with pytest.raises(AttributeError):
            before.phase = Phase.STOPPED  # type: ignore[misc]


def _done(found: Snapshot) -> int:
    return sum(view.position or 0 for view in found.partitions)
