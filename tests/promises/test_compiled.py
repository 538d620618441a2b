"""A worker whose trees are compiled publishes what LightGBM would, and says which it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.promises.test_swap import NAME, blocks, why
from tests.traffic import good
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.models.bundle import Bundle
from workers.models.compiled import build
from workers.models.following import Follower, ModelEvent
from workers.models.model import Model
from workers.models.store import Store
from workers.testing import Driver, EmbeddedBroker, Reader, isolated, produce
from workers.topology import Delivery, ModelRef, Topology, Worker
from workers.wiring import build_enricher, load_model, pick

Told = list[tuple[ModelEvent, Mapping[str, object]]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The demo's model, as the champion."""
    shutil.copytree(ROOT / "models" / NAME / "1", tmp_path / "models" / NAME / "1")
    store = Store(tmp_path / "models")
    store.promote(NAME, "1", why("promote"))
    return store


@pytest.fixture
def compiling(topology: Topology, store: Store) -> tuple[Topology, Worker]:
    """The demo's worker on this store, its trees to be compiled."""
    place = topology.models.model_copy(update={"directory": store.root})
    own = topology.model_copy(update={"models": place})
    ref = ModelRef.model_validate(
        {"name": NAME, "alias": "champion", "poll": "50ms", "backend": "compiled"}
    )
    return own, pick(own, None).model_copy(update={"model": ref})


def follower(store: Store, began: Model, told: Told) -> Follower:
    """A follower that looks when it is told to."""
    return Follower(
        store=store,
        name=NAME,
        alias="champion",
        began=began,
        load=lambda _: began,
        poll=60,
        note=lambda event, fields: told.append((event, fields)),
    )


def test_a_worker_publishes_the_scores_of_lightgbm_from_compiled_trees(
    embedded: EmbeddedBroker,
    compiling: tuple[Topology, Worker],
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
) -> None:
    """From the topology's word to the topic: each score to the bit."""
    own, worker = compiling
    top, worker = isolated(own, worker, embedded, delivery=Delivery.EXACTLY_ONCE)
    enricher = build_enricher(top, worker)
    assert enricher.model.compiled
    servers, source = embedded.bootstrap_servers, worker.input.topic
    with Driver(top, worker, enricher), Reader(servers, worker.output.topic) as reader:
        produce(servers, source, good(flights[:500]))
        reader.until(lambda seen: len(seen) == 500)

    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights[:500]).table
    found = sorted(block["score"] for block in blocks(reader.records, contracts))
    assert found == sorted(Model(bundle).score(table).scores.tolist())


def test_a_worker_says_that_its_trees_are_compiled(
    compiling: tuple[Topology, Worker], store: Store, contracts: Catalogue
) -> None:
    """At start, from the follower's thread as at a switch."""
    _, worker = compiling
    told: Told = []
    follows = follower(store, load_model(store, worker, worker.model, contracts), told)

    follows.start()
    follows.close()

    assert told == [(ModelEvent.COMPILED, {"version": "1"})]


def test_a_worker_that_cannot_compile_scores_with_lightgbm_and_says_why(
    compiling: tuple[Topology, Worker],
    store: Store,
    contracts: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for an operator: the model serves, slower."""
    _, worker = compiling
    monkeypatch.setattr(build, "COMMAND", ("-c", "import os; os.abort()"))
    told: Told = []

    model = load_model(store, worker, worker.model, contracts)
    follows = follower(store, model, told)
    follows.start()
    follows.close()

    reason = "not compiled: the child process ended with -6"
    assert not model.compiled
    assert told == [(ModelEvent.NOT_COMPILED, {"version": "1", "why": reason})]


def test_an_answer_that_is_none_is_a_reason_too(
    compiling: tuple[Topology, Worker],
    store: Store,
    contracts: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong, a model that is proven with LightGBM is never lost to its compiler."""
    _, worker = compiling
    monkeypatch.setattr(build, "COMMAND", ("-c", "print('nothing')"))

    model = load_model(store, worker, worker.model, contracts)

    assert (model.compiled, model.not_compiled) == (False, "JSONDecodeError")
