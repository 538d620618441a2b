"""Promise 4 and what belongs to it: outages, rebalances, zombies, starts and ends of the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from tests.promises.test_every_record import committed
from tests.traffic import good, ids, places_by_key
from workers.contracts.catalogue import Catalogue
from workers.enrich.path import Enricher
from workers.errors import BrokerUnreachable, ClientHalt, Fenced
from workers.testing import (
    Driver,
    EmbeddedBroker,
    Reader,
    RealKafka,
    Sender,
    isolated,
    produce,
)
from workers.testing.kafka import LocalProcess
from workers.topology import Broker, Delivery, FirstStart, Partitioning, Protocol, Topology, Worker
from workers.wiring import check_broker, pick

AnyBroker = EmbeddedBroker | RealKafka


@pytest.fixture
def mortal() -> Iterator[RealKafka]:
    """A broker of our own that a test may kill."""
    with RealKafka(LocalProcess()) as broker:
        yield broker


@pytest.mark.kafka
@pytest.mark.faults
def test_a_broker_that_dies_and_comes_back_costs_nothing(
    mortal: RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """Killed in the middle: no dead letter, nothing lost; exactly once, nothing twice.

    A worker of each guarantee, side by side.
    """
    server, servers = mortal.server, mortal.bootstrap_servers
    assert isinstance(server, LocalProcess)
    with ExitStack() as stack:
        workers: list[tuple[Worker, Driver]] = []
        for delivery in Delivery:
            top, worker = isolated(topology, pick(topology, None), mortal, delivery=delivery)
            produce(servers, worker.input.topic, good(flights))
            workers.append((worker, stack.enter_context(Driver(top, worker, enricher))))
        for _, driver in workers:
            driver.until(partial(has_begun, driver))
        server.kill()
        server.start()
        for worker, driver in workers:
            topics = worker.output.topic, worker.dead_letter.topic
            with Reader(servers, *topics) as reader:
                produce(servers, worker.input.topic, good(flights[:100]))
                reader.until(lambda seen: len(set(ids(seen, contracts))) >= 4100, 120)
                driver.stop()
                reader.read(1.0)

            assert not [r for r in reader.records if r.topic == worker.dead_letter.topic]
            found = ids(reader.records, contracts)
            assert len(set(found)) == 4100
            if worker.delivery is Delivery.EXACTLY_ONCE:
                assert len(found) == 4100


def has_begun(driver: Driver) -> bool:
    """Is a batch of it committed?"""
    return driver.journal.counts.batches >= 1


def test_an_outage_of_the_embedded_broker_passes(
    topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Connections refused for a moment: the worker waits, nothing is dead-lettered, it goes on."""
    with EmbeddedBroker() as broker:
        top, worker = isolated(
            topology, pick(topology, None), broker, delivery=Delivery.AT_LEAST_ONCE
        )
        with Driver(top, worker, enricher) as driver:
            produce(broker.bootstrap_servers, worker.input.topic, good(flights[:100]))
            driver.until(lambda: driver.journal.counts.enriched >= 100)
            broker.set_down()
            with pytest.raises(TimeoutError):
                driver.until(lambda: driver.journal.counts.enriched > 100, 1)
            broker.set_up()
            produce(broker.bootstrap_servers, worker.input.topic, good(flights[:100]))
            driver.until(lambda: driver.journal.counts.enriched >= 200)
            assert not driver.journal.counts.rejected


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", list(Protocol))
def test_members_that_come_and_go_double_nothing(
    kafka: RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
    protocol: Protocol,
) -> None:
    """Four members join and leave while records flow: each once, order per key kept."""
    # A member that leaves while it joins stays until its session ends.
    soon = {"session.timeout.ms": 6000} if protocol is Protocol.CLASSIC else {}
    top, worker = isolated(
        topology, pick(topology, None), kafka, partitions=6, protocol=protocol, consumer=soon
    )
    records = good(flights, keys=40)
    sender = Sender(kafka.bootstrap_servers)
    first = Driver(top, worker, enricher, slot=0).start()
    others: list[Driver] = []
    with Reader(kafka.bootstrap_servers, worker.output.topic) as reader:
        for step, start in enumerate(range(0, 4000, 250)):
            for record in records[start : start + 250]:
                sender.send(worker.input.topic, record)
            sender.flush()
            if step in {2, 5, 8}:
                others.append(Driver(top, worker, enricher, slot=step).start())
            if step in {6, 11}:
                others.pop(0).stop()
            if step == 9:
                first.stop()
            reader.read(0.3)
        reader.until(lambda seen: len(seen) >= 4000, 120)
        for driver in others:
            driver.stop()
        reader.read(0.5)

    found = ids(reader.records, contracts)
    assert len(found) == len(set(found)) == 4000
    for key, places in places_by_key(reader.records).items():
        assert places == sorted(places), key
    assert sum(committed(kafka, worker, 6).values()) >= 4000


@pytest.mark.kafka
def test_two_with_one_identity_leave_one(
    kafka: RealKafka, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """The elder is fenced, ends and says so; the younger delivers everything once."""
    top, worker = isolated(topology, pick(topology, None), kafka)
    elder = Driver(top, worker, enricher).start()
    produce(kafka.bootstrap_servers, worker.input.topic, good(flights[:100]))
    elder.until(lambda: elder.journal.counts.enriched >= 100)

    with (
        Driver(top, worker, enricher) as younger,
        Reader(kafka.bootstrap_servers, worker.output.topic) as reader,
    ):
        younger.until(lambda: bool(younger.loop.partitions))
        sent = 100
        while not elder.ended and sent < 4000:
            batch = good(flights[sent : sent + 50])
            sent += produce(kafka.bootstrap_servers, worker.input.topic, batch)
            younger.check()
        with pytest.raises(Fenced, match="another process runs as"):
            elder.wait(10)
        reader.until(lambda seen: len(seen) >= sent)
        reader.read(0.5)

    assert len(reader.records) == sent


@pytest.mark.kafka
@pytest.mark.parametrize(("policy", "seen"), [("earliest", 150), ("latest", 50)])
def test_a_new_group_begins_where_it_is_declared_to(
    kafka: RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    policy: str,
    seen: int,
) -> None:
    """Latest is committed at once: it means the same after a restart before the first record."""
    top, worker = isolated(
        topology, pick(topology, None), kafka, partitions=1, first_start=FirstStart(policy)
    )
    produce(kafka.bootstrap_servers, worker.input.topic, good(flights[:100]))
    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: bool(committed(kafka, worker, 1)))
    produce(kafka.bootstrap_servers, worker.input.topic, good(flights[:50]))

    with (
        Driver(top, worker, enricher) as driver,
        Reader(kafka.bootstrap_servers, worker.output.topic) as reader,
    ):
        reader.until(lambda records: len(records) >= seen)
        reader.read(0.5)

    assert len(reader.records) == seen


@pytest.mark.kafka
def test_a_group_that_must_not_begin_by_itself_halts(
    kafka: RealKafka, topology: Topology, enricher: Enricher
) -> None:
    """`first_start: fail` names group and partition, and commits nothing."""
    top, worker = isolated(
        topology, pick(topology, None), kafka, partitions=1, first_start=FirstStart.FAIL
    )
    driver = Driver(top, worker, enricher).start()

    with pytest.raises(ClientHalt, match=f"group {worker.group} has no offset"):
        driver.wait(60)

    assert committed(kafka, worker, 1) == {}


@pytest.mark.kafka
def test_retention_that_overtakes_the_group_stops_the_partition(
    kafka: RealKafka, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Never a silent reset: it names the offsets and how many records are gone."""
    top, worker = isolated(topology, pick(topology, None), kafka, partitions=1)
    produce(kafka.bootstrap_servers, worker.input.topic, good(flights[:50]))
    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: driver.journal.counts.enriched >= 50)
    produce(kafka.bootstrap_servers, worker.input.topic, good(flights[:100]))
    kafka.delete_records(worker.input.topic, 0, 120)

    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: 0 in driver.loop.stopped_partitions)
        why = driver.loop.stopped_partitions[0]
        assert driver.journal.counts.enriched == 0

    assert "outside [120, 150)" in why or "outside [120, 1" in why
    assert "70 records are gone" in why or "69 records are gone" in why


def test_missing_topics_are_named_and_not_made(broker: AnyBroker, topology: Topology) -> None:
    """All of them at once, before anything is joined."""
    worker = pick(topology, None)
    place = Broker(bootstrap_servers=broker.bootstrap_servers)
    broker.create_topic(f"only.{id(worker)}", 1)
    output = worker.output.model_copy(update={"topic": f"only.{id(worker)}"})
    absent: dict[str, Any] = {
        role: getattr(worker, role).model_copy(update={"topic": f"absent.{role}.{id(worker)}"})
        for role in ("input", "dead_letter", "decisions")
    }
    asked: Worker = worker.model_copy(update={"output": output, **absent})

    for _ in range(2):
        with pytest.raises(ClientHalt) as halt:
            check_broker(place, asked)

        for role in absent:
            assert f"{role} topic absent.{role}" in str(halt.value)
        assert "only." not in str(halt.value)


def test_too_few_partitions_for_the_same_numbers_is_a_clear_halt(
    broker: AnyBroker, topology: Topology
) -> None:
    """Found at the start, not when the first record of the last partition comes."""
    plain = pick(topology, None)
    output = plain.output.model_copy(update={"partitioning": Partitioning.SAME})
    top, worker = isolated(topology, plain.model_copy(update={"output": output}), broker)
    broker.create_topic(f"wide.{worker.group}", 6)
    wide = worker.input.model_copy(update={"topic": f"wide.{worker.group}"})

    check_broker(top.broker, worker)
    with pytest.raises(ClientHalt, match="has 4 partitions and wide"):
        check_broker(top.broker, worker.model_copy(update={"input": wide}))


def test_no_broker_is_a_clear_halt(topology: Topology) -> None:
    """It names the address, the time and where to look."""
    place = Broker(bootstrap_servers="127.0.0.1:1", connect_timeout="1s")  # type: ignore[arg-type]

    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1 within 1 s; check broker"):
        check_broker(place, pick(topology, None))
