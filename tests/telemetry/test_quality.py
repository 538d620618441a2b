"""Drift and the age of events, in a worker on the embedded broker and in the path alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pytest

from tests.models.test_drift import textbook
from tests.telemetry.reading import Series, of, rendered
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.framing import frame
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.errors import Code, ContractError
from workers.models.bundle import Bundle
from workers.models.drift import column_of
from workers.models.model import Model
from workers.models.reference import Bins, reference_of
from workers.stream import drifting
from workers.testing import Driver, EmbeddedBroker, Sent, isolated, produce
from workers.topology import Drift, OnStale, RuleSet, Staleness, Topology
from workers.wiring import build_path, pick, policy_of

DAY = 86_400_000


@pytest.fixture(scope="module")
def model(contracts: Catalogue, bundle: Bundle, flights: list[bytes]) -> Model:
    """The demo's model, with a reference of the very events that are served here."""
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights).table
    plain = Model(bundle)
    scored = plain.score(table)
    reference = reference_of(plain.features.ordered, scored.matrix, scored.scores)
    return Model(replace(bundle, reference=reference))


def changed(contracts: Catalogue, flights: list[bytes], **changes: Any) -> list[bytes]:
    """The same events with other values; a function gets the old one."""
    schema = contracts.versions("flights-value")[1].schema
    found = []
    for datum in flights:
        event: Any = fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None)
        new = {k: v(event[k]) if callable(v) else v for k, v in changes.items()}
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema.parsed, {**event, **new})
        found.append(out.getvalue())
    return found


def served(
    broker: EmbeddedBroker,
    topology: Topology,
    contracts: Catalogue,
    model: Model,
    datums: Sequence[bytes],
) -> Series:
    """What a worker says of drift when it has enriched these, all of their rows looked at."""
    watch = Drift.model_validate({"window": "1h", "rows_per_second": 100_000, "least": 1000})
    top, worker = isolated(topology, pick(topology, None), broker, drift=watch)
    produce(broker.bootstrap_servers, worker.input.topic, [Sent(frame(1) + d) for d in datums])
    with Driver(top, worker, Enricher(policy_of(worker), contracts, model)) as driver:
        driver.until(
            lambda: of(rendered(driver.registry), "workers_drift_rows") == len(datums), 120
        )
        series = rendered(driver.registry)
    assert of(series, "workers_telemetry_faults_total") == 0
    return series


def psi(series: Series, feature: str) -> float:
    """A feature's index."""
    return of(series, "workers_drift_feature_psi", block="enrichment", feature=feature)


def test_what_is_served_as_it_was_made_with_has_not_moved(
    embedded: EmbeddedBroker,
    topology: Topology,
    contracts: Catalogue,
    model: Model,
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All indices are low, and what is missing is what the events lack."""
    monkeypatch.setattr(drifting, "EVERY", 0.1)
    series = served(embedded, topology, contracts, model, flights[::2])

    names = [feature.name for feature in model.features.ordered]
    assert len([key for key in series if key[0] == "workers_drift_feature_psi"]) == len(names)
    assert max(psi(series, name) for name in names) < 0.1
    assert of(series, "workers_drift_score_psi") < 0.1
    assert of(series, "workers_drift_unseen_ratio") == 0


def test_what_has_moved_is_seen(
    embedded: EmbeddedBroker,
    topology: Topology,
    contracts: Catalogue,
    model: Model,
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later delay, an unknown carrier, no humidity: each by its number, and as numpy has it."""
    monkeypatch.setattr(drifting, "EVERY", 0.1)
    moved = changed(
        contracts,
        flights[::2],
        departure_delay=lambda delay: delay + 45,
        carrier=lambda carrier: "ZZ" if carrier == "UA" else carrier,
        humidity=None,
    )
    series = served(embedded, topology, contracts, model, moved)

    assert psi(series, "departure_delay") > 0.25
    assert psi(series, "distance") < 0.1
    assert of(series, "workers_drift_score_psi") > 0.25
    schema = contracts.versions("flights-value")[1].schema
    before = Decoder(schema).decode(flights).table
    after = Decoder(schema).decode(moved).table
    assert model.reference is not None
    spread = model.reference.features["departure_delay"]
    assert isinstance(spread, Bins)
    edges = column_of(spread).edges
    assert edges is not None
    was, now = (t["departure_delay"].to_numpy().astype(np.float64) for t in (before, after))
    assert psi(series, "departure_delay") == pytest.approx(textbook(was, now, edges), rel=1e-9)
    unknown = after["carrier"].to_pylist().count("ZZ") / 2000
    assert of(series, "workers_drift_unseen_ratio", feature="carrier") == pytest.approx(unknown)
    assert of(series, "workers_drift_missing_ratio", feature="humidity") == 1
    assert of(series, "workers_drift_missing_ratio", feature="carrier") == 0


def test_stale_events_are_counted_in_a_worker(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """By their field: flights of 2013 are old. They are enriched as any, where the policy is so."""
    limit = Staleness.model_validate({"limit": "24h", "field": "scheduled_departure"})
    base = pick(topology, None)
    top, worker = isolated(topology, base, embedded, staleness=limit)
    own = Enricher(policy_of(worker), enricher.binding.contracts, enricher.model)
    values = [Sent(frame(1) + datum) for datum in flights[:200]]
    produce(embedded.bootstrap_servers, worker.input.topic, values)

    with Driver(top, worker, own) as driver:
        driver.until(lambda: of(rendered(driver.registry), "workers_records_total") == 200)
        series = rendered(driver.registry)

    assert of(series, "workers_records_total", outcome="enriched") == 200
    assert of(series, "workers_events_stale_total", policy="report") == 200
    assert of(series, "workers_event_age_seconds_count") == 200
    assert of(series, "workers_fallbacks_total") == 0


def enriched(
    topology: Topology,
    contracts: Catalogue,
    model: Model,
    flights: list[bytes],
    settings: dict[str, Any],
    now: int,
    **changes: Any,
) -> Outcomes:
    """Ten flights of 1 October 2013, at `now`."""
    stale = Staleness.model_validate(settings)
    policy = replace(policy_of(pick(topology, None)), staleness=stale, **changes)
    values: list[bytes | None] = [frame(1) + datum for datum in flights[:10]]
    batch = Batch(
        topic="flights",
        now=now,
        keys=[b"k"] * 10,
        values=values,
        headers=[None] * 10,
        partitions=[0] * 10,
        offsets=list(range(10)),
        timestamps=[(1, now - 60_000 * row) for row in range(9)] + [(0, -1)],
    )
    return Enricher(policy, contracts, model).enrich(batch)


@pytest.fixture(scope="module")
def departure(contracts: Catalogue, flights: list[bytes]) -> int:
    """The latest of the ten, ms UTC."""
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(flights[:10]).table
    latest: Any = max(table["scheduled_departure"].to_pylist())
    return int(latest.timestamp() * 1000)


FIELD = {"limit": "24h", "field": "scheduled_departure"}


@pytest.mark.parametrize(("after", "stale"), [(-DAY, False), (DAY // 2, False), (3 * DAY, True)])
def test_an_old_event_is_decided_without_the_model(
    after: int,
    stale: bool,
    topology: Topology,
    contracts: Catalogue,
    model: Model,
    flights: list[bytes],
    departure: int,
) -> None:
    """By its own time against the poll's; one from the future is not old."""
    settings = {**FIELD, "policy": "fallback"}
    found = enriched(topology, contracts, model, flights, settings, departure + after)

    (opinion,) = found.opinions
    assert len(found.enriched) == 10
    without = [None] * 10 if opinion.without is None else opinion.without.tolist()
    assert without == ["stale" if stale else None] * 10
    assert np.isnan(opinion.scores).all() == stale
    assert found.ages is not None
    assert (found.ages >= 0).all()


def test_an_old_event_is_a_dead_letter_where_it_is_declared(
    topology: Topology, contracts: Catalogue, model: Model, flights: list[bytes], departure: int
) -> None:
    """With a code of its own, and no figure of the event's in the text."""
    settings = {**FIELD, "policy": "dead_letter"}
    found = enriched(topology, contracts, model, flights, settings, departure + 3 * DAY)

    assert found.enriched == {}
    assert {why.reject.code for why in found.rejected.values()} == {Code.STALE}
    assert {str(why.reject) for why in found.rejected.values()} == {
        "the event is older than staleness.limit 86400 s"
    }


def test_without_a_field_the_records_time_counts(
    topology: Topology, contracts: Catalogue, model: Model, flights: list[bytes], departure: int
) -> None:
    """One that has none is not old."""
    settings = {"limit": "5m", "policy": "fallback"}
    found = enriched(topology, contracts, model, flights, settings, departure)

    (opinion,) = found.opinions
    assert opinion.without is not None
    assert opinion.without.tolist() == [None] * 6 + ["stale"] * 3 + [None]


def test_rules_before_the_model_hold_for_old_events(
    topology: Topology, contracts: Catalogue, model: Model, flights: list[bytes], departure: int
) -> None:
    """As they do in a bypass."""
    rule = {"name": "all", "when": "distance > 0", "decision": "review"}
    rules = {"enrichment": RuleSet.model_validate({"before": [rule]})}
    settings = {**FIELD, "policy": "fallback"}
    found = enriched(
        topology, contracts, model, flights, settings, departure + 3 * DAY, rules=rules
    )

    assert set(found.decided.values()) == {"review"}


@pytest.mark.parametrize("field", ["no_such", "carrier", "distance"])
def test_a_field_without_time_is_refused_at_the_start(
    field: str, topology: Topology, contracts: Catalogue, model: Model
) -> None:
    """The contract says so; no record has to come first."""
    settings = Staleness.model_validate({"limit": "1h", "field": field})
    policy = replace(policy_of(pick(topology, None)), staleness=settings)

    with pytest.raises(ContractError, match=field):
        Enricher(policy, contracts, model)


def test_history_has_no_age(topology: Topology) -> None:
    """What is scored again, from a file or a dead letter, is scored as it would have been."""
    limit = Staleness.model_validate({**FIELD, "policy": OnStale.DEAD_LETTER})
    worker = pick(topology, None).model_copy(update={"staleness": limit})

    with build_path(topology, worker) as path:
        assert path.enricher.policy.staleness is None
