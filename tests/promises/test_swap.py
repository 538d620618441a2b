"""A model is switched, refused and bypassed while its worker runs: nothing lost, nothing twice."""

from __future__ import annotations

import datetime
import io
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from structlog.testing import capture_logs

from tests.conftest import ROOT
from tests.models.test_bundle import (
    bad_manifest,
    directory,
    edit,
    fifo,
    flip,
    huge,
    resign,
    truncate,
)
from tests.models.test_damaged import line, put, said, swapped
from tests.traffic import good
from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.errors import ModelError
from workers.governance.derivation import stale, write
from workers.models.build import Recipe, build
from workers.models.bundle import Bundle, Decisions
from workers.models.model import Model
from workers.models.serving import Serving
from workers.models.store import Change, Store
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
from workers.topology import Delivery, ModelRef, Topology, Worker
from workers.topology.deciding import Block
from workers.wiring import build_enricher, load_model, pick

AnyBroker = EmbeddedBroker | RealKafka
NAME = "flight-delay"


def why(did: str) -> Change:
    """Somebody, for a reason."""
    return Change(when=datetime.datetime.now(datetime.UTC), who="me", why="a test", did=did)


@pytest.fixture(scope="session")
def two_versions(
    tmp_path_factory: pytest.TempPathFactory,
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
) -> Path:
    """The demo's model, and a second version of it that decides otherwise."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / NAME / "1", root / NAME / "1")
    manifest = bundle.manifest
    bands = tuple(
        band.model_copy(update={"decision": f"{band.decision}_2"})
        for band in manifest.decisions.bands
    )
    recipe = Recipe(
        name=NAME,
        version="2",
        created=manifest.created,
        contract=manifest.contract,
        schema=contracts.versions("flights-value")[1].schema,
        features=manifest.features,
        decisions=Decisions(bands=bands, fallback="review_2"),
    )
    build(root, recipe, bundle.booster, flights[:5])
    return root


@pytest.fixture
def models(two_versions: Path, tmp_path: Path) -> Store:
    """Both versions, version 1 the champion."""
    shutil.copytree(two_versions, tmp_path / "models")
    store = Store(tmp_path / "models")
    store.promote(NAME, "1", why("promote"))
    return store


def following(
    topology: Topology, models: Store, broker: AnyBroker, delivery: Delivery
) -> tuple[Topology, Worker]:
    """The demo's worker on this store, serving the champion."""
    place = topology.models.model_copy(update={"directory": models.root})
    own = topology.model_copy(update={"models": place})
    ref = ModelRef.model_validate({"name": NAME, "alias": "champion", "poll": "50ms"})
    return isolated(own, pick(own, None), broker, delivery=delivery, model=ref)


def blocks(records: Iterable[OutRecord], contracts: Catalogue) -> list[dict[str, Any]]:
    """The enrichment blocks, in the order read."""
    schema = contracts.versions("flights.enriched-value")[2].schema
    found = []
    for record in records:
        assert record.value is not None
        event: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema.parsed, None)
        found.append({**event["enrichment"], "partition": record.partition})
    return found


def test_a_promoted_version_serves_from_a_batch_on(
    broker: AnyBroker,
    delivery: Delivery,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """And back; each record once, and no version comes between records of another."""
    top, worker = following(topology, models, broker, delivery)
    servers, source = broker.bootstrap_servers, worker.input.topic
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        for round_, expected in enumerate(("1", "2", "1"), 1):
            if round_ > 1:
                models.promote(NAME, "2", why("promote")) if expected == "2" else models.rollback(
                    NAME, why("rollback")
                )
                driver.until(lambda e=expected: driver.serving == e)  # type: ignore[misc]
            produce(servers, source, good(flights[:300]))
            reader.until(lambda seen, r=round_: len(seen) >= 300 * r)  # type: ignore[misc]

    found = blocks(reader.records, contracts)
    assert len({block["decision_id"] for block in found}) == len(found) == 900
    assert [block["model_version"] for block in found] == ["1"] * 300 + ["2"] * 300 + ["1"] * 300
    assert all(b["decision"].endswith("_2") == (b["model_version"] == "2") for b in found)


def tree(change: Callable[[list[str]], list[str]], name: str) -> Callable[[Path], None]:
    """One line of a tree is another, under a digest that fits: a careless repair."""

    def damage(folder: Path) -> None:
        model = folder / "model.txt"
        model.write_text(said(line(name, change))(model.read_text()))
        resign(folder)

    return damage


def renamed(folder: Path) -> None:
    """The booster knows a feature by another name."""
    model = folder / "model.txt"
    model.write_text(line("feature_names", put(1, "distanse"), -1)(model.read_text()))
    resign(folder)


def reordered(folder: Path) -> None:
    """The booster takes its features in another order, which LightGBM does not notice."""
    model = folder / "model.txt"
    model.write_text(line("feature_names", swapped, -1)(model.read_text()))
    resign(folder)


def contracted(folder: Path) -> None:
    """A feature reads a field that the contract lacks."""
    edit(folder, lambda m: m["features"][0].update(sql="no_such_field + 1"))


def cut(folder: Path) -> None:
    """A copy that broke off: the manifest's digest finds it."""
    (folder / "model.txt").write_bytes((folder / "model.txt").read_bytes()[:-500])


def link(folder: Path) -> None:
    """A link to what has no end."""
    (folder / "model.txt").unlink()
    (folder / "model.txt").symlink_to("/dev/zero")


def empty(folder: Path) -> None:
    """Nothing of it."""
    (folder / "model.txt").write_bytes(b"")


def windows(folder: Path) -> None:
    """Line ends of another system, under a digest that fits."""
    model = folder / "model.txt"
    model.write_bytes(model.read_bytes().replace(b"\n", b"\r\n"))
    resign(folder)


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (cut, "model.txt"),
    "half": (truncate, "model.txt"),
    "digit": (flip, "model.txt"),
    "circle": (tree(put(2, "0"), "left_child"), "make no tree"),
    "nan": (tree(put(3, "nan"), "leaf_value"), "not a number"),
    "sizes": (tree(put(0, "2000000000"), "num_leaves"), "tree 7"),
    "renamed": (renamed, "feature distanse"),
    "reordered": (reordered, "golden row"),
    "contracted": (contracted, "feature departure_delay"),
    "huge": (huge, "model.txt"),
    "pipe": (fifo, "not a plain file"),
    "link": (link, "not a plain file"),
    "directory": (directory, "not a plain file"),
    "empty": (empty, "model.txt"),
    "windows": (windows, "flight-delay"),
    "manifest": (bad_manifest, "manifest.json"),
}
"""What a worker may be told to switch to, by version, and what it says of it."""


def test_a_damaged_version_never_replaces_one_that_works(
    embedded: EmbeddedBroker,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """Each kind of damage is refused by name, the stream goes on; the next good one is taken."""
    for version, (damage, _) in DAMAGED.items():
        broken = models.root / NAME / version
        shutil.copytree(models.root / NAME / "2", broken)
        manifest = broken / "manifest.json"
        manifest.write_text(
            manifest.read_text().replace('"version": "2"', f'"version": "{version}"', 1)
        )
        damage(broken)
    top, worker = following(topology, models, embedded, Delivery.EXACTLY_ONCE)
    servers, source = embedded.bootstrap_servers, worker.input.topic

    with (
        capture_logs() as log,
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        for number, version in enumerate(DAMAGED, 1):
            models.promote(NAME, version, why("promote"))
            driver.until(lambda v=version: v in driver.refused)  # type: ignore[misc]
            produce(servers, source, good(flights[:20]))
            reader.until(lambda seen, n=number: len(seen) == 20 * n)  # type: ignore[misc]
        models.promote(NAME, "2", why("promote"))
        driver.until(lambda: driver.serving == "2")

    assert {block["model_version"] for block in blocks(reader.records, contracts)} == {"1"}
    told = {entry["version"]: entry["why"] for entry in log if entry["event"] == "model.refused"}
    assert told.keys() == DAMAGED.keys()
    assert {v: why for v, why in told.items() if DAMAGED[v][1] not in why} == {}


def test_a_canary_begins_grows_and_is_promoted_while_the_worker_runs(
    broker: AnyBroker,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """The keys that it had at first stay with it, and the block says who decided."""
    top, worker = following(topology, models, broker, Delivery.EXACTLY_ONCE)
    servers, source = broker.bootstrap_servers, worker.input.topic
    models.promote(NAME, "2", why("promote"), "challenger")
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        for round_, share in enumerate((0.2, 0.6, 0.0), 1):
            if share:
                models.canary(NAME, share, why("canary"))
            else:
                models.promote(NAME, "2", why("promote"))
                driver.until(lambda: driver.serving == "2")
            driver.until(lambda s=share: driver.canary == s)  # type: ignore[misc]
            produce(servers, source, [Sent(frame(1) + flights[n], b"k%d" % n) for n in range(300)])
            reader.until(lambda seen, r=round_: len(seen) >= 300 * r)  # type: ignore[misc]

    rounds = [reader.records[start : start + 300] for start in (0, 300, 600)]
    taken = []
    for records in rounds:
        found = zip(records, blocks(records, contracts), strict=True)
        taken.append({r.key for r, block in found if block["model_version"] == "2"})
    assert 30 <= len(taken[0]) <= 90
    assert taken[0] < taken[1] < taken[2]
    assert len(taken[2]) == 300
    assert {block["arm"] for block in blocks(rounds[2], contracts)} == {"champion"}


def test_a_canary_whose_challenger_is_damaged_takes_nothing(
    embedded: EmbeddedBroker,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """The champion decides for every key, and the version is refused by name."""
    (models.root / NAME / "2" / "model.txt").write_text("tree")
    models.promote(NAME, "2", why("promote"), "challenger")
    models.canary(NAME, 0.5, why("canary"))
    top, worker = following(topology, models, embedded, Delivery.EXACTLY_ONCE)
    servers, source = embedded.bootstrap_servers, worker.input.topic
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        driver.until(lambda: "2" in driver.refused)
        produce(servers, source, good(flights[:100]))
        reader.until(lambda seen: len(seen) == 100)

    assert {block["model_version"] for block in blocks(reader.records, contracts)} == {"1"}


def test_two_models_in_one_worker_each_with_its_own_switch(
    embedded: EmbeddedBroker,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """`workers contracts derive` makes the output; one is promoted, the other stays."""
    assert topology.contracts.directory is not None
    schemas = Path(shutil.copytree(topology.contracts.directory, tmp_path / "schemas"))
    subject = schemas / "flights.enriched-value" / "subject.yaml"
    subject.write_text(f"blocks: [enrichment, second]\n{subject.read_text()}")
    for entry in stale(read_directory(schemas)):
        write(read_directory(schemas), entry, with_id=True)
    own = topology.model_copy(
        update={"contracts": topology.contracts.model_copy(update={"directory": schemas})}
    )
    pinned = {"model": {"name": NAME, "version": "1"}}
    top, worker = following(own, models, embedded, Delivery.EXACTLY_ONCE)
    worker = worker.model_copy(update={"blocks": {"second": Block.model_validate(pinned)}})
    top = top.model_copy(update={"workers": {worker.name: worker}})
    servers, source = embedded.bootstrap_servers, worker.input.topic
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        models.promote(NAME, "2", why("promote"))
        driver.until(lambda: driver.serving == "2")
        produce(servers, source, good(flights[:100]))
        reader.until(lambda seen: len(seen) == 100)

    schema = read_directory(schemas).catalogue.versions("flights.enriched-value")[3].schema
    for record in reader.records:
        assert record.value is not None
        event: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema.parsed, None)
        seen = (event["enrichment"]["model_version"], event["second"]["model_version"])
        assert seen == ("2", "1")
        assert event["enrichment"]["score"] == event["second"]["score"]


def test_a_bypass_decides_without_the_model_until_it_is_over(
    broker: AnyBroker,
    topology: Topology,
    models: Store,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """Same schema, the declared fallback, the cause in the block; then the model again."""
    top, worker = following(topology, models, broker, Delivery.EXACTLY_ONCE)
    servers, source = broker.bootstrap_servers, worker.input.topic
    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(servers, worker.output.topic) as reader,
    ):
        models.bypass(NAME, why("bypass"))
        driver.until(lambda: driver.bypass == "a test")
        produce(servers, source, good(flights[:100]))
        reader.until(lambda seen: len(seen) == 100)
        models.resume(NAME, why("resume"))
        driver.until(lambda: driver.bypass is None)
        produce(servers, source, good(flights[:100]))
        reader.until(lambda seen: len(seen) == 200)

    found = blocks(reader.records, contracts)
    assert {
        (b["fallback"], b["fallback_reason"], b["score"], b["decision"]) for b in found[:100]
    } == {(True, "bypassed", None, "review")}
    assert {b["fallback"] for b in found[100:]} == {False}


def test_a_bypass_holds_beside_a_model_that_does_not_fit(
    topology: Topology, models: Store, bundle: Bundle, flights: list[bytes]
) -> None:
    """The model before goes on to be the one that is bypassed."""
    worker = pick(topology, None)
    enricher = build_enricher(topology, worker)
    other = bundle.manifest.model_copy(
        update={"contract": bundle.manifest.contract.model_copy(update={"version": 9})}
    )

    with pytest.raises(ModelError, match="version 9"):
        enricher.serve([Serving(Model(replace(bundle, manifest=other)), "an incident")])

    assert enricher.bypass == "an incident"
    assert enricher.model.manifest.contract.version == 1


def test_what_cannot_be_proven_is_not_loaded(
    topology: Topology, models: Store, contracts: Catalogue
) -> None:
    """The contract it is built for is not there: no child could score its golden rows."""
    manifest = models.root / NAME / "2" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["contract"]["version"] = 9
    manifest.write_text(json.dumps(document))
    worker = pick(topology, None)

    with pytest.raises(ModelError, match="flights-value version 9"):
        load_model(models, worker, worker.model, contracts, "2")
