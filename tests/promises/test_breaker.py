"""A partition of nothing but bad records is held, drains as probes, and goes on alone."""

from __future__ import annotations

import pytest

from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import BreakerSettings, Delivery, Topology
from workers.wiring import pick

AnyBroker = EmbeddedBroker | RealKafka
BAD, GOOD = 200, 60


@pytest.mark.parametrize("again", ["100ms", "10m"])
def test_too_many_dead_letters_hold_one_partition(
    broker: AnyBroker,
    delivery: Delivery,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    again: str,
) -> None:
    """No flood, no crash, nothing dropped; the other partitions do not notice."""
    breaker = BreakerSettings.model_validate({"consecutive": 20, "probe": 30, "again": again})
    top, worker = isolated(
        topology, pick(topology, None), broker, delivery=delivery, breaker=breaker
    )
    servers = broker.bootstrap_servers
    bad = [
        Sent(frame(1) + b"\xff", b"bad", [("place", b"%d" % n)], partition=0) for n in range(BAD)
    ]
    good = [
        Sent(frame(1) + flights[n], b"k%d" % p, [("place", b"%d" % n)], partition=p)
        for p in range(4)
        for n in range(GOOD)
    ]
    produce(servers, worker.input.topic, [*bad, *good])

    with (
        Driver(top, worker, enricher) as driver,
        Reader(servers, worker.output.topic) as enriched,
        Reader(servers, worker.dead_letter.topic) as dead,
    ):
        enriched.until(lambda seen: len(seen) >= 3 * GOOD)
        driver.until(lambda: "breaker: " in driver.loop.stopped_partitions.get(0, ""))
        if again == "10m":
            dead.until(lambda seen: len(seen) >= 20)
            dead.read(0.5)
            assert len(dead.records) == 20
            assert "decode:malformed" in driver.loop.stopped_partitions[0]
            return
        enriched.until(lambda seen: len(seen) >= 4 * GOOD)
        dead.until(lambda seen: len(seen) >= BAD)
        dead.read(0.3)

    assert [int(record.header("place")) for record in dead.records] == list(range(BAD))
    for partition in range(4):
        own = [r for r in enriched.records if r.key == b"k%d" % partition]
        assert [int(record.header("place")) for record in own] == list(range(GOOD))
