"""A pause reaches every replica without a restart; nothing is lost, nothing is done twice."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from tests.conftest import ROOT
from tests.traffic import good
from workers.enrich.path import Enricher
from workers.models.store import Change, Store
from workers.stream.snapshot import PauseKind, Snapshot
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, ModelRef, Topology
from workers.wiring import build_enricher, pick

DEMO = "flight-delay"
AnyBroker = EmbeddedBroker | RealKafka


def change(why: str = "audit 7") -> Change:
    """Somebody's."""
    return Change(when=datetime.datetime.now(datetime.UTC), who="ann", why=why, did="a test")


def placed(topology: Topology, folder: Path) -> tuple[Topology, Store]:
    """The demo with a store of its own that is looked at all the time."""
    shutil.copytree(ROOT / "models", folder)
    ref = ModelRef.model_validate({"name": DEMO, "alias": "champion", "poll": "50ms"})
    worker = pick(topology, None).model_copy(update={"model": ref})
    models = topology.models.model_copy(update={"directory": folder})
    update = {"models": models, "workers": {worker.name: worker}}
    store = Store(folder)
    store.promote(DEMO, "1", change("first"))
    return topology.model_copy(update=update), store


def each(flights: list[bytes], since: int, count: int) -> list[Sent]:
    """Records for four partitions in turn, `place` counting on."""
    return [
        Sent(record.value, record.key, [("place", b"%d" % (since + n))], partition=n % 4)
        for n, record in enumerate(good(flights[:count]))
    ]


def kinds(found: Snapshot) -> dict[int, PauseKind | None]:
    """What each partition waits for."""
    return {v.partition: None if v.pause is None else v.pause.kind for v in found.partitions}


def test_a_pause_of_some_partitions_holds_those_alone(
    broker: AnyBroker,
    delivery: Delivery,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """They are shown with who, when and why, their lag grows, and they go on where they were."""
    own, store = placed(topology, tmp_path / "models")
    top, worker = isolated(own, pick(own, None), broker, delivery=delivery)
    servers, source = broker.bootstrap_servers, worker.input.topic
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        produce(servers, source, each(flights, 0, 40))
        reader.until(lambda seen: len(seen) >= 40)
        store.pause(DEMO, worker.name, [1, 2], change())
        driver.until(lambda: driver.board.snapshot.paused is not None)
        produce(servers, source, each(flights, 40, 40))
        reader.until(lambda seen: len(seen) >= 60)
        driver.until(lambda: [v.lag for v in driver.board.snapshot.partitions] == [0, 10, 10, 0])
        found = driver.board.snapshot
        operator = PauseKind.OPERATOR
        assert kinds(found) == {0: None, 1: operator, 2: operator, 3: None}
        assert "partitions 1, 2 paused by ann since" in str(found.paused)
        assert "audit 7" in str(found.paused)
        reader.read(0.5)
        assert len(reader.records) == 60
        store.unpause(DEMO, worker.name, [1], change())
        reader.until(lambda seen: len(seen) >= 70)
        store.unpause(DEMO, worker.name, [], change())
        reader.until(lambda seen: len(seen) >= 80)
        driver.until(lambda: driver.board.snapshot.lag == 0)
        reader.read(0.3)
    assert sorted(int(record.header("place")) for record in reader.records) == list(range(80))
    history = store.aliases(DEMO).history
    assert [entry.why for entry in history[-3:]] == ["audit 7"] * 3


def test_a_pause_reaches_replicas_and_outlives_a_rebalance(
    embedded: EmbeddedBroker, topology: Topology, flights: list[bytes], tmp_path: Path
) -> None:
    """The client remembers a pause beyond the assignment, so whoever gets the partition resumes."""
    own, store = placed(topology, tmp_path / "models")
    top, worker = isolated(own, pick(own, None), embedded)
    servers, source = embedded.bootstrap_servers, worker.input.topic
    enricher: Enricher = build_enricher(top, worker)
    store.pause(DEMO, worker.name, [], change())
    with Reader(servers, worker.output.topic) as reader, Driver(top, worker, enricher) as first:
        first.until(lambda: len(first.board.snapshot.partitions) == 4)
        produce(servers, source, each(flights, 0, 40))
        first.until(lambda: len(first.loop.stopped_partitions) == 4)
        with Driver(top, worker, build_enricher(top, worker), slot=1) as second:
            second.until(lambda: len(second.loop.stopped_partitions) == 2)
            first.until(lambda: len(first.board.snapshot.partitions) == 2)
            assert reader.read(0.5) == []
            assert second.board.snapshot.paused == first.board.snapshot.paused
        first.until(lambda: len(first.loop.stopped_partitions) == 4)
        store.unpause(DEMO, worker.name, [], change())
        reader.until(lambda seen: len(seen) >= 40)
        reader.read(0.3)
    assert sorted(int(record.header("place")) for record in reader.records) == list(range(40))


def test_a_pause_that_was_on_before_the_start_lets_no_record_through(
    embedded: EmbeddedBroker, topology: Topology, flights: list[bytes], tmp_path: Path
) -> None:
    """Records that wait already, in the very first poll."""
    own, store = placed(topology, tmp_path / "models")
    top, worker = isolated(own, pick(own, None), embedded)
    servers = embedded.bootstrap_servers
    store.pause(DEMO, worker.name, [], change())
    produce(servers, worker.input.topic, each(flights, 0, 40))
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        driver.until(lambda: len(driver.loop.stopped_partitions) == 4)
        assert reader.read(0.5) == []
        store.unpause(DEMO, worker.name, [], change())
        reader.until(lambda seen: len(seen) >= 40)
    assert sorted(int(record.header("place")) for record in reader.records) == list(range(40))
