"""Rules, canaries and several models: who decides, and what the blocks say of it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pytest

from tests.enrich.test_evolution import add, catalogue, changed, encoded, events
from tests.enrich.test_path import POLICY, BrokenBooster, batch
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import frame
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.policy import Effort
from workers.enrich.seat import share_of
from workers.errors import ContractError, ModelError, Verdict
from workers.models.bundle import Band, Bundle, Decisions
from workers.models.model import Model
from workers.models.serving import Canary, Serving
from workers.topology import OnModelFailure, RuleSet

SECOND = "second"


def opinions(
    outcomes: Outcomes, contracts: Catalogue, names: Sequence[str] = ("enrichment",)
) -> dict[int, dict[str, Any]]:
    """The blocks of every enriched row; what is framed with says which schema reads it."""
    found = {}
    for row, value in outcomes.enriched.items():
        assert value is not None
        registered = contracts.find(int.from_bytes(value[1:5], "big"))
        assert registered is not None
        stream = io.BytesIO(value[5:])
        event: Any = fastavro.schemaless_reader(stream, registered.schema.parsed, None)
        assert not stream.read()
        found[row] = {name: event[name] for name in names} | {"event": event}
    return found


def version(bundle: Bundle, number: str, **changes: Any) -> Bundle:
    """The same booster as another version, whose decisions end in its name."""
    bands = tuple(
        Band(since=band.since, decision=f"{band.decision}_{number}")
        for band in bundle.manifest.decisions.bands
    )
    decisions = Decisions(bands=bands, fallback=f"review_{number}")
    update = {"version": number, "decisions": decisions, **changes}
    return replace(bundle, manifest=bundle.manifest.model_copy(update=update))


def keyed(values: Sequence[bytes | None]) -> Batch:
    """Each record with a key of its own."""
    return replace(batch(values), keys=[b"key %d" % row for row in range(len(values))])


def ruled(**rules: Sequence[Mapping[str, str]]) -> Mapping[str, RuleSet]:
    """Rules of the one block."""
    return {"enrichment": RuleSet.model_validate(rules)}


@pytest.fixture
def values(flights: list[bytes]) -> list[bytes]:
    """A thousand framed events."""
    return [frame(1) + datum for datum in flights[:1000]]


BEFORE = [
    {"name": "short-hop", "when": "distance < 200", "decision": "on_time"},
    {"name": "never-reached", "when": "distance < 100", "decision": "late"},
]
AFTER = [{"name": "newark", "when": "origin = 'EWR' AND score >= 0.3", "decision": "late"}]


def test_rules_before_the_model_decide_without_it(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """The first that holds; all other rows are as they would be without rules."""
    plain = Enricher(POLICY, contracts, Model(bundle)).enrich(batch(values))
    policy = replace(POLICY, rules=ruled(before=BEFORE))

    outcomes = Enricher(policy, contracts, Model(bundle)).enrich(batch(values))

    found, without = opinions(outcomes, contracts), opinions(plain, contracts)
    short = {row for row, seen in found.items() if seen["event"]["distance"] < 200}
    assert 0 < len(short) < len(values)
    for row, seen in found.items():
        block = seen["enrichment"]
        if row in short:
            assert (block["decision"], block["rule"], block["score"]) == (
                "on_time",
                "short-hop",
                None,
            )
            assert (block["fallback"], block["fallback_reason"]) == (True, "rule")
        else:
            assert block == without[row]["enrichment"]


def test_rules_after_the_model_see_its_score(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """A threshold for a segment: the decision changes, the score stays, the block says which."""
    plain = Enricher(POLICY, contracts, Model(bundle)).enrich(batch(values))
    policy = replace(POLICY, rules=ruled(after=AFTER))

    outcomes = Enricher(policy, contracts, Model(bundle)).enrich(batch(values))

    found, without = opinions(outcomes, contracts), opinions(plain, contracts)
    changed_rows = 0
    for row, seen in found.items():
        block, before = seen["enrichment"], without[row]["enrichment"]
        assert block["score"] == before["score"]
        if seen["event"]["origin"] == "EWR" and before["score"] >= 0.3:
            changed_rows += 1
            assert (block["decision"], block["rule"]) == ("late", "newark")
            assert not block["fallback"]
        else:
            assert block == before
    assert changed_rows


def test_rules_hold_in_a_bypass_and_what_they_need_no_score_for_applies(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """Non-AI behaviour is rules and the fallback, in the same schema."""
    rules = ruled(before=BEFORE, after=AFTER)
    enricher = Enricher(replace(POLICY, rules=rules), contracts, Model(bundle))
    enricher.serve([replace(enricher.servings[0], bypass="an incident")])

    found = opinions(enricher.enrich(batch(values)), contracts)

    seen = Counter(
        (block["decision"], block["fallback_reason"], block["rule"], block["score"])
        for block in (opinion["enrichment"] for opinion in found.values())
    )
    assert set(seen) == {
        ("on_time", "rule", "short-hop", None),
        ("review", "bypassed", None, None),
    }
    assert sum(seen.values()) == len(values)


def test_a_rule_that_cannot_be_computed_rejects_its_row_alone(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """A cast that fails for one value."""
    when = "CAST(flight_id AS BIGINT) > 0"
    policy = replace(POLICY, rules=ruled(before=[{"name": "r", "when": when, "decision": "d"}]))

    outcomes = Enricher(policy, contracts, Model(bundle)).enrich(batch(values[:20]))

    assert len(outcomes.rejected) == 20
    rejections = {(r.reject.verdict, r.reject.code) for r in outcomes.rejected.values()}
    assert rejections == {(Verdict.FEATURE, "rule")}


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("gate = 'B7'", "rule r: the contract has no field"),
        ("distance <", "rule r: not a SQL expression"),
        ("1 = 1", "rule r: it is one value for all"),
        ("MAX(distance) > 100", "rule r: it is one value for all"),
        ("score > 0.5", "rule r: the contract has no field"),
    ],
)
def test_a_rule_is_held_to_the_contract(
    contracts: Catalogue, bundle: Bundle, when: str, said: str
) -> None:
    """By its name, before a record is read."""
    policy = replace(POLICY, rules=ruled(before=[{"name": "r", "when": when, "decision": "d"}]))

    with pytest.raises(ModelError, match=said):
        Enricher(policy, contracts, Model(bundle))


def with_canary(enricher: Enricher, challenger: Model, share: float) -> None:
    """Let a challenger decide for a share."""
    enricher.serve([replace(enricher.servings[0], canary=Canary(challenger, share))])


def test_a_canary_takes_a_share_of_the_keys_and_keeps_them(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """The same keys at any time, more of them as the share grows; each block says who decided."""
    enricher = Enricher(POLICY, contracts, Model(bundle))
    challenger = Model(version(bundle, "2"))
    taken = {}
    for share in (0.0, 0.1, 0.3, 1.0):
        with_canary(enricher, challenger, share)
        found = opinions(enricher.enrich(keyed(values)), contracts)
        again = opinions(enricher.enrich(keyed(values[::-1])), contracts)
        taken[share] = {r for r, o in found.items() if o["enrichment"]["arm"] == "challenger"}
        assert taken[share] == {r for r, o in again.items() if o["enrichment"]["arm"] != "champion"}
        for row, opinion in found.items():
            block, is_taken = opinion["enrichment"], row in taken[share]
            assert block["model_version"] == ("2" if is_taken else "1")
            assert block["decision"].endswith("_2") == is_taken

    assert not taken[0.0]
    assert taken[0.1] < taken[0.3] < taken[1.0] == set(range(len(values)))
    assert 60 <= len(taken[0.1]) <= 140
    assert 240 <= len(taken[0.3]) <= 360


def test_shares_are_even_and_differ_by_salt() -> None:
    """A chi-square over twenty bins of 20,000 keys; two models do not try the same keys."""
    one = np.array([share_of(b"key %d" % n, b"one") for n in range(20_000)])
    two = np.array([share_of(b"key %d" % n, b"two") for n in range(20_000)])

    counts, _ = np.histogram(one, bins=20, range=(0, 1))

    assert ((counts - 1000) ** 2 / 1000).sum() < 50
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05


def test_what_a_challenger_cannot_score_the_champion_does(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """A canary that fails takes nothing away, even where a failing model would halt."""
    policy = replace(POLICY, on_model_failure=OnModelFailure.HALT)
    enricher = Enricher(policy, contracts, Model(bundle))
    plain = enricher.enrich(keyed(values))
    broken = Model(version(bundle, "2")).scored_by(BrokenBooster())
    with_canary(enricher, broken, 0.5)

    outcomes = enricher.enrich(keyed(values))

    assert outcomes.enriched == plain.enriched


def test_a_challenger_of_another_version_reads_the_event_as_that(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """Built for version 2, which has a field more; the champion stays with version 1."""
    first = contracts.versions("flights-value")[1].schema
    second = changed(first, add("gate", ["null", "string"], default=None))
    known = catalogue(contracts, [first, second], [1, 2])
    newer = [{**event, "gate": "B7"} for event in events(first, flights[:200])]
    values = [frame(1) + datum for datum in flights[:200]]
    values += [frame(2) + datum for datum in encoded(second, newer)]
    features = (
        bundle.manifest.features[0].model_copy(
            update={"sql": "departure_delay + CASE WHEN gate = 'B7' THEN 300 ELSE 0 END"}
        ),
        *bundle.manifest.features[1:],
    )
    built = bundle.manifest.contract.model_copy(update={"version": 2})
    challenger = Model(version(bundle, "2", contract=built, features=features))
    alone = Enricher(POLICY, known, challenger)
    enricher = Enricher(POLICY, known, Model(bundle))
    plain = opinions(enricher.enrich(keyed(values)), known)
    wanted = opinions(alone.enrich(keyed(values)), known)
    with_canary(enricher, challenger, 0.5)

    found = opinions(enricher.enrich(keyed(values)), known)

    arms = Counter(opinion["enrichment"]["arm"] for opinion in found.values())
    assert arms["champion"] > 100
    assert arms["challenger"] > 100
    for row, opinion in found.items():
        block = opinion["enrichment"]
        if block["arm"] == "challenger":
            assert block["score"] == wanted[row]["enrichment"]["score"]
        else:
            assert block == plain[row]["enrichment"]
    scores = [o["enrichment"]["score"] for r, o in wanted.items() if r >= 200]
    assert scores != [o["enrichment"]["score"] for r, o in plain.items() if r >= 200]


@pytest.fixture
def doubled(contracts: Catalogue) -> Catalogue:
    """The shipped contracts, and an output with two blocks."""
    first = contracts.versions("flights-value")[1].schema
    both = derive(first, enrichment_block(), ("enrichment", SECOND))
    return contracts.with_more([Registered("flights.enriched-value", 9, 109, both)])


TWO = replace(POLICY, blocks=("enrichment", SECOND))


def test_two_models_give_two_blocks_of_one_event(
    contracts: Catalogue, doubled: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """Each as if it were alone; two decision records, each with an id of its own."""
    other = Model(version(bundle, "7", name="other"))
    alone = opinions(Enricher(POLICY, contracts, Model(bundle)).enrich(batch(values)), contracts)
    second = opinions(Enricher(POLICY, contracts, other).enrich(batch(values)), contracts)

    outcomes = Enricher(TWO, doubled, Model(bundle), other).enrich(batch(values))

    found = opinions(outcomes, doubled, TWO.blocks)
    for row, opinion in found.items():
        own = opinion[SECOND]
        assert opinion["enrichment"] == alone[row]["enrichment"]
        assert own["decision_id"] == f"{opinion['enrichment']['decision_id']}:{SECOND}"
        wanted = {**second[row]["enrichment"], "decision_id": own["decision_id"]}
        assert own == wanted
        assert (own["model"], own["model_version"]) == ("other", "7")
    assert {len(records) for records in outcomes.decisions.values()} == {2}


def test_a_rule_combines_two_models(
    doubled: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """An ensemble by rule: late where both are sure of it."""
    rules = {
        "enrichment": RuleSet.model_validate(
            {
                "after": [
                    {
                        "name": "both",
                        "when": "score >= 0.6 AND second_score >= 0.6 "
                        "AND second_decision = 'late_7'",
                        "decision": "surely_late",
                    }
                ]
            }
        )
    }
    other = Model(version(bundle, "7", name="other"))

    outcomes = Enricher(replace(TWO, rules=rules), doubled, Model(bundle), other).enrich(
        batch(values)
    )

    sure = 0
    for opinion in opinions(outcomes, doubled, TWO.blocks).values():
        both = min(opinion["enrichment"]["score"], opinion[SECOND]["score"]) >= 0.6
        assert (opinion["enrichment"]["decision"] == "surely_late") == both
        sure += both
    assert sure


def test_one_of_two_models_bypassed_or_failing_leaves_the_other(
    doubled: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """Each block has its own bypass and its own fallback."""
    broken = Model(version(bundle, "7", name="other")).scored_by(BrokenBooster())
    enricher = Enricher(TWO, doubled, Model(bundle), broken)
    enricher.serve([Serving(enricher.model, "an incident"), enricher.servings[1]])

    found = opinions(enricher.enrich(batch(values)), doubled, TWO.blocks)

    for opinion in found.values():
        assert opinion["enrichment"]["fallback_reason"] == "bypassed"
        assert opinion[SECOND]["fallback_reason"] == "model_failed"
        assert opinion[SECOND]["decision"] == "review_7"


def test_the_output_must_have_the_blocks(contracts: Catalogue, bundle: Bundle) -> None:
    """Two models, and an output for one."""
    with pytest.raises(ContractError, match="with the blocks enrichment, second"):
        Enricher(TWO, contracts, Model(bundle), Model(bundle))


def test_an_output_with_the_older_block_is_still_filled(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """A package that knows a newer block serves contracts that were derived before it."""
    older = Catalogue(entry for entry in contracts if entry.id not in (102, 202))

    outcomes = Enricher(POLICY, older, Model(bundle)).enrich(batch(values))

    found, newer = opinions(outcomes, older), Enricher(POLICY, contracts, Model(bundle))
    wanted = opinions(newer.enrich(batch(values)), contracts)
    for row, opinion in found.items():
        assert opinion["enrichment"].items() <= wanted[row]["enrichment"].items()
        assert "arm" not in opinion["enrichment"]


def test_without_time_for_the_model_the_fallback_is_published(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """What a latency budget gives up last."""
    enricher = Enricher(POLICY, contracts, Model(bundle))

    found = opinions(enricher.enrich(batch(values), Effort(model=False)), contracts)

    assert {
        (o["enrichment"]["decision"], o["enrichment"]["fallback_reason"]) for o in found.values()
    } == {("review", "over_budget")}


def test_a_shadow_is_given_what_the_champion_decided_and_nothing_else(
    contracts: Catalogue, bundle: Bundle, values: list[bytes]
) -> None:
    """Not what a rule or a canary decided; and nothing at all where nobody asks for it."""
    policy = replace(POLICY, rules=ruled(before=BEFORE, after=AFTER))
    assert Enricher(policy, contracts, Model(bundle)).enrich(keyed(values)).decoded is None
    enricher = Enricher(replace(policy, shadow=True), contracts, Model(bundle))
    with_canary(enricher, Model(version(bundle, "2")), 0.3)

    outcomes = enricher.enrich(keyed(values))

    assert outcomes.decoded is not None
    own = {
        row: opinion["enrichment"]["decision"]
        for row, opinion in opinions(outcomes, contracts).items()
        if opinion["enrichment"]["arm"] == "champion" and opinion["enrichment"]["rule"] is None
    }
    assert outcomes.decoded.decided == own
    assert 100 < len(own) < 900
