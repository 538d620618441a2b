"""A running worker follows its store, whatever the kind."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT
from tests.models.stores import DEMO, Kind, Registry, why
from tests.models.test_store_outages import place_of
from tests.traffic import good
from workers.models.store import Store
from workers.testing import Driver, EmbeddedBroker, Reader, isolated, produce
from workers.topology import Delivery, ModelRef, Topology
from workers.wiring import build_enricher, pick


def test_a_running_worker_takes_what_is_promoted_and_bypassed(
    kind: Kind, topology: Topology, embedded: EmbeddedBroker, flights: list[bytes], tmp_path: Path
) -> None:
    """Without a restart, and every record comes out once."""
    store = kind.open()
    if isinstance(kind, Registry):
        kind.http().unregister(DEMO)
    for version in ("1", "2"):
        store.put(Store(ROOT / "models").fetch(DEMO, version))
    store.promote(DEMO, "1", why())
    own = place_of(topology, {**kind.models, "cache": str(tmp_path / "cache")})
    ref = ModelRef.model_validate({"name": DEMO, "alias": "champion", "poll": "50ms"})
    worker = pick(own, None)
    top, worker = isolated(own, worker, embedded, delivery=Delivery.EXACTLY_ONCE, model=ref)
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        for number, version in enumerate(("1", "2", "1"), 1):
            if number == 2:
                store.promote(DEMO, "2", why())
            elif number == 3:
                store.rollback(DEMO, why())
            driver.until(lambda wanted=version: driver.serving == wanted)  # type: ignore[misc]
            produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:50]))
            reader.until(lambda seen, n=number: len(seen) >= 50 * n)  # type: ignore[misc]
    assert len(reader.records) == 150
    assert Store(tmp_path / "cache").versions(DEMO) == ("1", "2")
    store.close()
