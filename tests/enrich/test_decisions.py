"""The decision log: with what is in it a model can be trained without the events."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pytest

from tests.enrich.test_path import POLICY, batch
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.codec import Decoder
from workers.contracts.decision import decision_schema
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import frame
from workers.contracts.schema import parse
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.policy import Effort, Logged, Policy
from workers.models.bundle import Bundle, Feature, FeatureType
from workers.models.model import Model
from workers.models.serving import Canary, Serving
from workers.topology import Exploration, Rule, RuleSet

SUBJECT = "flights.decisions-value"
COUNT = 400


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Model:
    """The demo's model, loaded."""
    return Model(bundle)


@pytest.fixture(scope="module")
def challenger(bundle: Bundle) -> Model:
    """The same trees under another version, whose categories and one range are others."""
    changes: dict[str, dict[str, Any]] = {
        "carrier": {"categories": ("UA", "??")},
        "distance": {"range": (0, 30_000)},
    }
    features = tuple(f.model_copy(update=changes.get(f.name, {})) for f in bundle.manifest.features)
    manifest = bundle.manifest.model_copy(update={"version": "2", "features": features})
    return Model(replace(bundle, manifest=manifest))


def values(flights: list[bytes]) -> Batch:
    """Real events with keys and timestamps, in two partitions."""
    made = batch([frame(1) + datum for datum in flights[:COUNT]])
    return replace(
        made,
        keys=[b"N%d" % (row % 50) for row in range(COUNT)],
        partitions=[row % 2 for row in range(COUNT)],
        timestamps=[(1, 1_699_999_999_000 + row) for row in range(COUNT)],
    )


def read(contracts: Catalogue, value: bytes) -> dict[str, Any]:
    """A decision record as a subscriber with fastavro reads it."""
    schema = next(v.schema for v in contracts.versions(SUBJECT).values() if v.frame == value[:5])
    stream = io.BytesIO(value[5:])
    found = fastavro.schemaless_reader(stream, schema.parsed, None)
    assert not stream.read()
    assert isinstance(found, dict)
    return found


def decisions(contracts: Catalogue, outcomes: Outcomes) -> dict[int, dict[str, Any]]:
    """The first block's records by row."""
    return {row: read(contracts, values[0]) for row, values in outcomes.decisions.items()}


def features_of(record: dict[str, Any]) -> dict[str, Any]:
    """Values by name."""
    assert len(record["numbers"]) == len(record["number_names"])
    assert len(record["categories"]) == len(record["category_names"])
    numbers = dict(zip(record["number_names"], record["numbers"], strict=True))
    return numbers | dict(zip(record["category_names"], record["categories"], strict=True))


def test_a_decision_is_enough_to_score_its_event_again(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """The logged features, as they stand, give the published score bit for bit."""
    sent = values(flights)
    found = decisions(contracts, Enricher(POLICY, contracts, model).enrich(sent))

    assert len(found) == COUNT
    rows = [features_of(found[row]) for row in range(COUNT)]
    matrix = np.array(
        [
            [
                f.categories.index(row[f.name])
                if f.type is FeatureType.CATEGORICAL and row[f.name] in f.categories
                else math.nan
                if f.type is FeatureType.CATEGORICAL
                else row[f.name]
                for f in model.features.ordered
            ]
            for row in rows
        ]
    )
    scores = model._booster.predict(matrix)
    assert scores.tolist() == [found[row]["score"] for row in range(COUNT)]
    assert [found[row]["raw_score"] for row in range(COUNT)] == scores.tolist()


def test_a_decision_says_where_its_event_was(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """Coordinates, key, time, contract, and by which alias the version was chosen."""
    policy = replace(POLICY, aliases={"enrichment": "champion"})
    record = decisions(contracts, Enricher(policy, contracts, model).enrich(values(flights)))[7]

    assert (record["event_topic"], record["event_partition"], record["event_offset"]) == (
        "flights",
        1,
        107,
    )
    assert record["event_key"] == "N7"
    assert record["event_at"].timestamp() == 1_699_999_999.007
    assert record["latency_ms"] == 993
    source = contracts.versions("flights-value")[1]
    assert (record["contract"], record["contract_version"]) == ("flights-value", 1)
    assert source.schema.fingerprint.startswith(record["contract_fingerprint"])
    assert (record["alias"], record["arm"], record["propensity"]) == ("champion", "champion", 1.0)
    assert (record["explored"], record["sample"]) == (False, 1.0)


def test_what_is_not_there_is_null(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """Keys that are no text or none, records without a timestamp, doors without offsets."""
    sent = replace(
        values(flights).select(range(3)),
        keys=[b"\xff", None, b"N1"],
        timestamps=[(0, -1), (1, 5), (0, -1)],
        partitions=[-1, 0, 1],
        offsets=[-1, 0, 1],
    )
    found = decisions(contracts, Enricher(POLICY, contracts, model).enrich(sent))
    omitting = replace(POLICY, logged=Logged(key=False))
    without = decisions(contracts, Enricher(omitting, contracts, model).enrich(sent))

    assert [found[row]["event_key"] for row in range(3)] == [None, None, "N1"]
    assert [found[row]["event_at"] is None for row in range(3)] == [True, False, True]
    assert [found[row]["latency_ms"] is None for row in range(3)] == [True, False, True]
    assert [found[row]["event_offset"] for row in range(3)] == [None, 0, 1]
    assert [found[row]["event_partition"] for row in range(3)] == [None, 0, 1]
    assert {record["event_key"] for record in without.values()} == {None}


def test_a_canary_logs_the_features_of_the_model_that_decided(
    contracts: Catalogue, flights: list[bytes], model: Model, challenger: Model
) -> None:
    """Each arm its own fingerprint; rows keep their places; unknown categories stay."""
    enricher = Enricher(POLICY, contracts, model)
    alone = decisions(contracts, enricher.enrich(values(flights)))
    enricher.serve([Serving(model, canary=Canary(challenger, 0.5))])
    found = decisions(contracts, enricher.enrich(values(flights)))

    arms = Counter(record["arm"] for record in found.values())
    assert min(arms["champion"], arms["challenger"]) > COUNT // 4
    prints = {record["arm"]: record["features_fingerprint"] for record in found.values()}
    assert prints["champion"] != prints["challenger"]
    for row, record in found.items():
        assert features_of(record) == pytest.approx(features_of(alone[row]), nan_ok=True)
        assert record["alias"] == ("challenger" if record["arm"] == "challenger" else None)


@pytest.mark.parametrize("how", ["rule", "bypass", "budget"])
def test_a_decision_without_the_model_has_its_features_all_the_same(
    contracts: Catalogue, flights: list[bytes], model: Model, how: str
) -> None:
    """A rule before it, a bypass, a batch over its budget: what the model would have been given."""
    rules = RuleSet(before=(Rule(name="short", when="distance < 1000", decision="on_time"),))
    policy = replace(POLICY, rules={"enrichment": rules}) if how == "rule" else POLICY
    enricher = Enricher(policy, contracts, model)
    normal = decisions(contracts, Enricher(POLICY, contracts, model).enrich(values(flights)))
    if how == "bypass":
        enricher.serve([Serving(model, bypass="incident")])
    effort = Effort(model=how != "budget")

    found = decisions(contracts, enricher.enrich(values(flights), effort))

    without = [row for row, record in found.items() if record["fallback"]]
    assert len(without) == COUNT if how != "rule" else 0 < len(without) < COUNT
    for row, record in found.items():
        assert features_of(record) == pytest.approx(features_of(normal[row]), nan_ok=True)
        assert (record["raw_score"] is None) == (row in without)


def test_features_that_cannot_be_computed_are_empty_not_wrong(
    contracts: Catalogue, flights: list[bytes], bundle: Bundle
) -> None:
    """A bypassed event whose feature is out of range is published; its neighbours keep theirs."""
    features = tuple(
        f.model_copy(update={"range": (0, 1000)}) if f.name == "distance" else f
        for f in bundle.manifest.features
    )
    strict = Model(
        replace(bundle, manifest=bundle.manifest.model_copy(update={"features": features}))
    )
    enricher = Enricher(POLICY, contracts, strict)
    enricher.serve([Serving(strict, bypass="incident")])

    found = decisions(contracts, enricher.enrich(values(flights)))

    distances = {row: features_of(record).get("distance") for row, record in found.items()}
    schema = contracts.versions("flights-value")[1].schema
    true = Decoder(schema).decode(flights[:COUNT]).table.column("distance").to_pylist()
    assert distances == {row: d if d <= 1000 else None for row, d in enumerate(true)}
    assert None in distances.values()


def test_a_sensitive_field_leaves_only_by_name(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """By default a feature that reads one is left out; `none` logs nothing, a list what it has."""
    document = json.loads(contracts.versions("flights-value")[1].schema.text)
    next(f for f in document["fields"] if f["name"] == "seats")["sensitive"] = True
    source = parse(json.dumps(document), where="test")
    tagged = Catalogue(
        [
            *(e for e in contracts if e.subject == SUBJECT),
            Registered("flights-value", 1, 1, source),
            Registered("flights.enriched-value", 1, 301, derive(source, enrichment_block())),
        ]
    )

    def logged(policy: Policy) -> set[str]:
        outcomes = Enricher(policy, tagged, model).enrich(values(flights))
        return set(features_of(decisions(tagged, outcomes)[3]))

    every = {f.name for f in model.features.ordered}
    assert logged(POLICY) == every - {"seats"}
    assert logged(replace(POLICY, logged=Logged(features=frozenset()))) == set()
    named = frozenset({"seats", "carrier"})
    assert logged(replace(POLICY, logged=Logged(features=named))) == named


def test_a_sample_takes_all_of_a_key_or_nothing(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """And says how large it is; enriched events are not sampled."""
    policy = replace(POLICY, logged=Logged(sample=0.4))
    outcomes = Enricher(policy, contracts, model).enrich(values(flights))

    found = decisions(contracts, outcomes)
    assert len(outcomes.enriched) == COUNT
    taken = {record["event_key"] for record in found.values()}
    assert 5 < len(taken) < 40
    assert len(found) == sum(f"N{row % 50}" in taken for row in range(COUNT))
    assert {record["sample"] for record in found.values()} == {0.4}
    assert all(found[row]["event_offset"] == 100 + row for row in found)


def test_exploration_says_how_likely_it_was(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """Chance decides about its share, reproducibly; propensities weight outcomes to the truth."""
    explore = Exploration(share=0.4, decisions=("on_time", "late"))
    rules = RuleSet(after=(Rule(name="near", when="distance < 200", decision="on_time"),))
    enricher = Enricher(
        replace(POLICY, exploration=explore, rules={"enrichment": rules}), contracts, model
    )
    plain = decisions(contracts, Enricher(POLICY, contracts, model).enrich(values(flights)))

    found = decisions(contracts, enricher.enrich(values(flights)))
    again = decisions(contracts, enricher.enrich(values(flights)))

    assert {r: d["decision"] for r, d in found.items()} == {
        r: d["decision"] for r, d in again.items()
    }
    explored = [row for row, record in found.items() if record["explored"]]
    assert 0.3 * COUNT < len(explored) < 0.5 * COUNT
    for row, record in found.items():
        greedy = plain[row]["decision"]
        if record["rule"] == "near":
            assert (record["propensity"], record["explored"]) == (1.0, False)
            continue
        expected = 0.2 * (record["decision"] in explore.decisions)
        expected += 0.6 * (record["decision"] == greedy)
        assert record["propensity"] == pytest.approx(expected)
        assert record["rule"] == ("exploration" if record["explored"] else None)
        assert record["explored"] or record["decision"] == greedy
    # Inverse propensity weighting: each decision's weights add up to the number of events.
    free = [d for d in found.values() if d["rule"] != "near"]
    late = sum(1 / d["propensity"] for d in free if d["decision"] == "late")
    assert late == pytest.approx(len(free), rel=0.35)


def test_a_subject_derived_before_goes_on_with_the_block_alone(
    contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """Nothing changes for its readers until `workers contracts derive` makes the next version."""
    older = Catalogue(e for e in contracts if (e.subject, e.version) != (SUBJECT, 3))
    draft = Registered(SUBJECT, 3, None, decision_schema())
    outcomes = Enricher(POLICY, older, model).enrich(values(flights))
    with_draft = Enricher(POLICY, older.with_more([draft]), model).enrich(values(flights))

    for row, (value,) in outcomes.decisions.items():
        enriched = outcomes.enriched[row]
        assert value.startswith(older.versions(SUBJECT)[2].frame)
        assert enriched is not None
        assert enriched.endswith(value[5:])
    assert with_draft.decisions == outcomes.decisions


def test_categories_that_no_training_saw_are_logged(
    contracts: Catalogue, flights: list[bytes], bundle: Bundle
) -> None:
    """The model is given nothing for them; who trains the next one sees what they were."""
    features = tuple(
        Feature(name=f.name, sql=f.sql, type=f.type, categories=("nowhere",))
        if f.name == "origin"
        else f
        for f in bundle.manifest.features
    )
    manifest = bundle.manifest.model_copy(update={"features": features})
    blind = Model(replace(bundle, manifest=manifest))

    found = decisions(contracts, Enricher(POLICY, contracts, blind).enrich(values(flights)))

    assert {features_of(record)["origin"] for record in found.values()} == {"EWR", "JFK", "LGA"}
