"""A challenger scores what the champion scored, and can neither delay, fail nor change it."""

from __future__ import annotations

import dataclasses
import datetime
import io
import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import lightgbm
import pytest

from tests.conftest import ROOT
from tests.models.challengers import command
from tests.promises.test_every_record import committed, ends, remembers
from tests.traffic import broken, good
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.enrich.path import Enricher
from workers.models.build import Recipe, build
from workers.models.bundle import Bundle, Feature, read_bundle
from workers.models.model import Model
from workers.models.shadow import runner
from workers.models.shadow.counts import Skip
from workers.models.shadow.process import COMMAND
from workers.models.store import Alias, Change, Store
from workers.stream.clock import SystemClock
from workers.testing import Driver, EmbeddedBroker, OutRecord, Reader, RealKafka, isolated, produce
from workers.topology import Delivery, ModelRef, Topology, Worker
from workers.topology.shadow import ShadowTopic
from workers.wiring import pick, policy_of

AnyBroker = EmbeddedBroker | RealKafka
NAME = "flight-delay"


def promote(store: Store, version: str, alias: Alias = "challenger") -> None:
    """Let an alias stand for a version."""
    now = datetime.datetime.now(datetime.UTC)
    store.promote(NAME, version, Change(when=now, who="me", why="a test", did="promote"), alias)


class StoppedClock(SystemClock):
    """All records are scored at one time, so that two runs write the same bytes."""

    def now(self) -> int:
        """Always then."""
        return 1_700_000_000_000


@pytest.fixture(scope="module")
def versions(
    tmp_path_factory: pytest.TempPathFactory,
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
) -> Path:
    """The demo's model; 2 and 3 have the first 40 and 20 of its trees; 4 reads another field."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / NAME / "1", root / NAME / "1")
    manifest = bundle.manifest
    recipe = Recipe(
        name=NAME,
        version="2",
        created=manifest.created,
        contract=manifest.contract,
        schema=contracts.versions("flights-value")[1].schema,
        features=manifest.features,
        decisions=manifest.decisions,
    )
    whole = lightgbm.Booster(model_str=bundle.booster)
    for version, trees in (("2", 40), ("3", 20)):
        text = whole.model_to_string(num_iteration=trees)
        build(root, dataclasses.replace(recipe, version=version), text, flights[:5])
    *others, seats = manifest.features
    number = Feature(name=seats.name, sql="CAST(flight AS DOUBLE)")
    other = dataclasses.replace(recipe, version="4", features=(*others, number))
    build(root, other, bundle.booster, flights[:5])
    return root


@dataclass(frozen=True)
class Place:
    """A worker with a shadow, and what it works on."""

    topology: Topology
    worker: Worker
    store: Store
    broker: AnyBroker
    contracts: Catalogue

    def driver(self, challenger: tuple[str, ...] = COMMAND) -> Driver:
        """The worker; `challenger` stands for the challenger's process."""
        # The demo's model needs no proof here.
        champion = Model(read_bundle(self.store.root, NAME, "1"))
        enricher = Enricher(policy_of(self.worker), self.contracts, champion)
        clock = StoppedClock()
        return Driver(self.topology, self.worker, enricher, clock=clock, challenger=challenger)

    def reader(self, *roles: str) -> Reader:
        """Of its topics."""
        topics = [getattr(self.worker, role).topic for role in roles]
        return Reader(self.broker.bootstrap_servers, *topics)

    def send(self, flights: list[bytes]) -> int:
        """Good records."""
        return produce(self.broker.bootstrap_servers, self.worker.input.topic, good(flights))

    def without_shadow(self) -> Place:
        """A worker of its own group on the same input."""
        _, other = isolated(self.topology, self.worker, self.broker, shadow=None)
        plain = other.model_copy(update={"input": self.worker.input})
        top = self.topology.model_copy(update={"workers": {plain.name: plain}})
        return Place(top, plain, self.store, self.broker, self.contracts)


Make = Callable[..., Place]


@pytest.fixture
def make(topology: Topology, contracts: Catalogue, versions: Path, tmp_path: Path) -> Make:
    """Version 1 the champion; `shadow` are its settings, in the file's form."""

    def made(
        broker: AnyBroker, *, delivery: Delivery = Delivery.EXACTLY_ONCE, **shadow: Any
    ) -> Place:
        shutil.copytree(versions, tmp_path / "models")
        store = Store(tmp_path / "models")
        promote(store, "1", "champion")
        place = topology.models.model_copy(update={"directory": store.root})
        said = {"topic": "flights.comparisons", "subject": "flights.comparisons-value", **shadow}
        base = pick(topology, None)
        worker = base.model_copy(update={"shadow": ShadowTopic.model_validate(said)})
        ref = ModelRef.model_validate({"name": NAME, "alias": "champion", "poll": "50ms"})
        batch = base.batch.model_copy(update={"max_records": 100})
        top, own = isolated(
            topology.model_copy(update={"models": place}),
            worker,
            broker,
            delivery=delivery,
            model=ref,
            batch=batch,
        )
        return Place(top, own, store, broker, contracts)

    return made


def comparisons(records: Iterable[OutRecord], contracts: Catalogue) -> list[dict[str, Any]]:
    """As a subscriber with fastavro reads them, with key and timestamp of their records."""
    contract = contracts.versions("flights.comparisons-value")[1]
    found = []
    for record in records:
        assert record.value is not None
        assert record.value[:5] == contract.frame
        stream = io.BytesIO(record.value[5:])
        event: Any = fastavro.schemaless_reader(stream, contract.schema.parsed, None)
        assert not stream.read()
        found.append({**event, "key": record.key, "timestamp": record.timestamp[1]})
    return found


def in_order(records: Iterable[OutRecord]) -> dict[int, list[tuple[object, ...]]]:
    """All that a reader sees of each partition, in its order."""
    found: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    for record in records:
        seen = (record.key, record.value, record.headers, record.timestamp)
        found[record.partition].append(seen)
    return dict(found)


def lives(pid: int) -> bool:
    """Is there such a process?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def all_ended(driver: Driver, pid: int | None) -> bool:
    """No thread of the shadow's, no process."""
    threads = [thread.name for thread in threading.enumerate() if thread.name == "shadow"]
    return not threads and driver.shadow.child is None and (pid is None or not lives(pid))


def adds_up(driver: Driver) -> None:
    """Every row that the worker published is compared, skipped or failed, once."""
    counts = driver.shadow.counts
    every = counts.compared + counts.skipped.total() + counts.failed.total()
    assert every == sum(driver.journal.counts.decisions.values())


def block_of(record: OutRecord, contracts: Catalogue) -> dict[str, Any]:
    """The enrichment block of an enriched event."""
    assert record.value is not None
    schema = contracts.versions("flights.enriched-value")[1].schema
    event: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema.parsed, None)
    return dict(event["enrichment"])


def test_a_challenger_is_compared_bit_for_bit(
    broker: AnyBroker, make: Make, contracts: Catalogue, flights: list[bytes]
) -> None:
    """What both say of each event is in the topic, with the event's key and time; and counted."""
    place = make(broker)
    promote(place.store, "2")
    records = good(flights[:1000])
    records[400:400] = broken(flights[0])
    with place.driver() as driver, place.reader("shadow", "output") as reader:
        driver.until(lambda: driver.shadow.comparing == "2")
        pid = driver.shadow.child
        produce(broker.bootstrap_servers, place.worker.input.topic, records)
        reader.until(lambda seen: len(seen) >= 2000)
        driver.stop()

    assert all_ended(driver, pid)
    assert place.worker.shadow is not None
    theirs = [r for r in reader.records if r.topic == place.worker.shadow.topic]
    found = {entry["decision_id"]: entry for entry in comparisons(theirs, contracts)}
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights[:1000]).table
    model = Model(read_bundle(place.store.root, NAME, "2"))
    scored = model.score(table)
    enriched = [r for r in reader.records if r.topic == place.worker.output.topic]
    assert len(found) == len(theirs) == len(enriched) == 1000
    for record in enriched:
        block, row = block_of(record, contracts), int(record.header("place"))
        decision, stamp = model.decisions[scored.bands[row]], record.timestamp[1]
        assert found[block["decision_id"]] == {
            "decision_id": block["decision_id"],
            "model": NAME,
            "champion": {"version": "1", "score": block["score"], "decision": block["decision"]},
            "challenger": {"version": "2", "score": scored.scores[row], "decision": decision},
            "agrees": decision == block["decision"],
            "failure": None,
            "event_at": datetime.datetime.fromtimestamp(stamp / 1000, datetime.UTC),
            "key": record.key,
            "timestamp": stamp,
        }
    counts = driver.shadow.counts
    assert counts.compared == counts.differing == 1000
    assert 0 < counts.disagreed == sum(not entry["agrees"] for entry in found.values()) < 500
    apart = [abs(e["champion"]["score"] - e["challenger"]["score"]) for e in found.values()]
    assert counts.difference_max == max(apart)
    assert counts.difference_sum == pytest.approx(sum(apart))
    assert driver.journal.totals()["shadow"]["compared"] == 1000
    adds_up(driver)


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_a_challenger_that_hangs_holds_up_nothing(
    broker: AnyBroker, make: Make, flights: list[bytes], how: str
) -> None:
    """Batch after batch is committed while it hangs, as bytes the same as without a challenger."""
    place = make(broker, timeout="5m", queue=100)
    promote(place.store, "2")
    with place.driver(command(how)) as driver, place.reader("output") as reader:
        driver.until(lambda: driver.shadow.comparing == "2")
        pid = driver.shadow.child
        place.send(flights[:400])
        reader.until(lambda seen: len(seen) >= 400)
        batches = driver.journal.counts.batches
        place.send(flights[400:800])
        reader.until(lambda seen: len(seen) >= 800)
        driver.until(lambda: driver.journal.counts.enriched == 800)
        # It is the same process, still at its first batch.
        assert driver.shadow.child == pid
        assert driver.journal.counts.batches > batches
        assert driver.shadow.counts.compared == driver.shadow.counts.restarts == 0
        driver.stop()

    assert all_ended(driver, pid)
    assert driver.shadow.counts.skipped[Skip.BUSY] >= 400
    adds_up(driver)
    same_without(place, reader)


def same_without(place: Place, reader: Reader) -> None:
    """A worker without a shadow writes what this one wrote; offsets are where they belong."""
    plain = place.without_shadow()
    with plain.driver(), plain.reader("output") as other:
        other.until(lambda seen: len(seen) >= len(reader.records))
        other.read(0.3)
    assert in_order(other.records) == in_order(reader.records)
    if remembers(place.broker, place.worker):
        assert committed(place.broker, place.worker) == ends(place.broker, place.worker)


FAILURES = [
    ("hang", "hang"),
    ("leave", "crash"),
    ("crash", "crash"),
    ("garbage", "garbage"),
    ("flood", "garbage"),
]


@pytest.mark.parametrize(("how", "cause"), FAILURES)
@pytest.mark.slow
def test_a_challenger_that_fails_is_given_up(
    embedded: EmbeddedBroker,
    make: Make,
    contracts: Catalogue,
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    cause: str,
) -> None:
    """After three processes; the records say what it did, and the output is as without it."""
    monkeypatch.setattr(runner, "FIRST_WAIT", 0.01)
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE, timeout="100ms")
    promote(place.store, "2")
    sent = 0
    with place.driver(command(how)) as driver, place.reader("output") as reader:
        for round_ in range(1, 4):
            driver.until(lambda: driver.shadow.comparing == "2")
            sent += place.send(flights[:50])
            driver.until(lambda n=round_: driver.shadow.counts.restarts == n)  # type: ignore[misc]
        driver.until(lambda: driver.shadow.comparing is None)
        sent += place.send(flights[50:100])
        reader.until(lambda seen: len(seen) >= sent)
        driver.until(lambda: driver.shadow.counts.skipped[Skip.GAVE_UP] >= 50)
        assert driver.shadow.child is None
        driver.stop()

    assert all_ended(driver, None)
    counts = driver.shadow.counts
    assert (counts.compared, counts.restarts) == (0, 3)
    assert counts.failed[cause] == counts.failed.total() > 0
    adds_up(driver)
    with place.reader("shadow") as told:
        told.until(lambda seen: len(seen) >= counts.failed[cause])
    for entry in comparisons(told.records, contracts):
        assert entry["failure"] == cause
        assert entry["agrees"] is None
        assert entry["challenger"] == {"version": "2", "score": None, "decision": None}
        assert entry["champion"]["decision"] is not None
    same_without(place, reader)


@pytest.mark.slow
def test_a_challenger_that_answers_nan_goes_on(
    embedded: EmbeddedBroker, make: Make, contracts: Catalogue, flights: list[bytes]
) -> None:
    """Its rows are told and counted as what they are; there is nothing to restart."""
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE)
    promote(place.store, "2")
    with place.driver(command("nan")) as driver, place.reader("output") as reader:
        driver.until(lambda: driver.shadow.comparing == "2")
        place.send(flights[:500])
        with place.reader("shadow") as told:
            told.until(lambda seen: len(seen) >= 500)
        reader.until(lambda seen: len(seen) >= 500)
        driver.stop()

    assert {entry["failure"] for entry in comparisons(told.records, contracts)} == {"nan"}
    counts = driver.shadow.counts
    assert (counts.failed["nan"], counts.compared, counts.restarts) == (500, 0, 0)
    adds_up(driver)
    same_without(place, reader)


@pytest.mark.slow
def test_another_challenger_takes_over_and_a_promoted_one_ends(
    broker: AnyBroker, make: Make, contracts: Catalogue, flights: list[bytes]
) -> None:
    """The alias is followed while the worker runs; nobody is compared with itself."""
    place = make(broker)
    with place.driver() as driver, place.reader("shadow") as told, place.reader("output") as out:
        sent = place.send(flights[:100])
        out.until(lambda seen: len(seen) >= sent)
        for version in ("2", "3"):
            promote(place.store, version)
            driver.until(lambda v=version: driver.shadow.comparing == v)  # type: ignore[misc]
            sent += place.send(flights[:100])
            told.until(lambda seen, n=sent - 100: len(seen) >= n)  # type: ignore[misc]
        pid = driver.shadow.child
        promote(place.store, "3", "champion")
        driver.until(lambda: driver.serving == "3")
        sent += place.send(flights[:100])
        out.until(lambda seen: len(seen) >= sent)
        assert pid is not None
        driver.until(lambda: not lives(pid))
        assert driver.shadow.child is None
        promote(place.store, "2")
        driver.until(lambda: driver.shadow.comparing == "2")
        sent += place.send(flights[:100])
        told.until(lambda seen: len(seen) >= 300)
        out.until(lambda seen: len(seen) >= sent)

    found = [
        (entry["champion"]["version"], entry["challenger"]["version"])
        for entry in comparisons(told.records, contracts)
    ]
    assert {pair: found.count(pair) for pair in found} == {
        ("1", "2"): 100,
        ("1", "3"): 100,
        ("3", "2"): 100,
    }
    assert driver.shadow.counts.skipped[Skip.NO_CHALLENGER] == 200
    adds_up(driver)


@pytest.mark.slow
def test_a_challenger_that_is_damaged_or_reads_other_fields_compares_nothing(
    embedded: EmbeddedBroker,
    make: Make,
    flights: list[bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The log says why; the next one that fits is taken."""
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE)
    bad = place.store.root / NAME / "3" / "model.txt"
    bad.write_bytes(bad.read_bytes()[:-500])
    promote(place.store, "3")
    with place.driver() as driver, place.reader("output") as reader, place.reader("shadow") as told:
        driver.until(lambda: _tells(driver, place, flights, Skip.REFUSED))
        promote(place.store, "4")
        driver.until(lambda: "flight" in driver.shadow.fields)
        driver.until(lambda: _tells(driver, place, flights, Skip.UNFIT))
        assert driver.shadow.counts.compared == 0
        promote(place.store, "2")
        driver.until(lambda: driver.shadow.comparing == "2")
        place.send(flights[:10])
        told.until(lambda seen: len(seen) >= 10)
        driver.stop()
        reader.read(0.3)

    assert len(reader.records) == driver.journal.counts.enriched
    adds_up(driver)
    said = re.sub(r"\x1b\[[0-9;]*m", "", "".join(capfd.readouterr()))
    assert "shadow.refused" in said
    assert "the champion's columns lack flight" in said


def _tells(driver: Driver, place: Place, flights: list[bytes], skip: Skip) -> bool:
    """Is a row skipped for this? One more is sent, so that there is one."""
    place.send(flights[:1])
    return driver.shadow.counts.skipped[skip] > 0


@pytest.mark.slow
def test_a_share_takes_some_keys_whole(
    embedded: EmbeddedBroker, make: Make, contracts: Catalogue, flights: list[bytes]
) -> None:
    """A key is compared always or never; the others are counted as left out."""
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE, share=0.3)
    promote(place.store, "2")
    with place.driver() as driver, place.reader("shadow") as told:
        driver.until(lambda: driver.shadow.comparing == "2")
        place.send(flights[:1000])
        counts = driver.shadow.counts
        driver.until(lambda: counts.compared + counts.skipped.total() == 1000)
        told.until(lambda seen: len(seen) >= counts.compared)

    keys = [entry["key"] for entry in comparisons(told.records, contracts)]
    assert {keys.count(key) for key in keys} == {20}
    assert 0 < len(set(keys)) < 50
    assert counts.skipped[Skip.SHARE] == 1000 - len(keys)


def test_a_topic_that_is_gone_costs_comparisons_and_no_event(
    embedded: EmbeddedBroker, make: Make, flights: list[bytes]
) -> None:
    """They are counted as undelivered."""
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE)
    promote(place.store, "2")
    assert place.worker.shadow is not None
    embedded.fail_topic(place.worker.shadow.topic, 3)
    with place.driver(command("nan")) as driver, place.reader("output") as reader:
        driver.until(lambda: driver.shadow.comparing == "2")
        place.send(flights[:300])
        reader.until(lambda seen: len(seen) >= 300)
        driver.until(lambda: driver.shadow.counts.failed["nan"] == 300)
        driver.stop()

    assert driver.shadow.counts.undelivered == 300
    assert driver.journal.counts.enriched == 300


def test_a_bypass_leaves_nothing_to_compare(
    embedded: EmbeddedBroker, make: Make, flights: list[bytes]
) -> None:
    """The champion was not asked."""
    place = make(embedded, delivery=Delivery.AT_LEAST_ONCE)
    promote(place.store, "2")
    now = datetime.datetime.now(datetime.UTC)
    place.store.bypass(NAME, Change(when=now, who="me", why="an incident", did="bypass"))
    with place.driver(command("nan")) as driver, place.reader("output") as reader:
        driver.until(lambda: driver.shadow.comparing == "2")
        place.send(flights[:100])
        reader.until(lambda seen: len(seen) >= 100)
        driver.stop()

    counts = driver.shadow.counts
    assert counts.failed.total() + counts.skipped.total() == 0
