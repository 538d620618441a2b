"""Reasons: what moved a score, for the decisions that ask for it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import fastavro
import lightgbm
import numpy as np
import pytest
from pydantic import ValidationError

from tests.enrich.test_path import POLICY, batch
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.framing import frame
from workers.enrich.batch import NOTHING, Explained
from workers.enrich.path import Enricher
from workers.enrich.policy import Effort
from workers.models.bundle import Bundle, Manifest, Reasons
from workers.models.costs import cost_of_reasons
from workers.models.model import Model
from workers.stream.clock import SystemClock
from workers.stream.journal import Journal

EVERY = ("on_time", "review", "late")
WEATHER = {"temperature": "weather", "humidity": "weather", "wind_speed": "weather"}


def with_reasons(bundle: Bundle, **reasons: Any) -> Bundle:
    """The demo's bundle, asked for reasons."""
    asked = Reasons.model_validate({"decisions": EVERY, **reasons})
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"reasons": asked}))


def matrix(contracts: Catalogue, model: Model, flights: list[bytes]) -> Any:
    """Features of real events."""
    schema = contracts.versions("flights-value")[1].schema
    scored = model.score(Decoder(schema).decode(flights).table)
    assert scored.matrix is not None
    return scored.matrix


def test_contributions_add_up_to_the_raw_score(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """All codes and what all rows have in common: the booster's log-odds."""
    model = Model(with_reasons(bundle, top=20, codes=WEATHER))
    rows = matrix(contracts, model, flights[:100])
    booster = lightgbm.Booster(model_str=bundle.booster)
    raw = booster.predict(rows, raw_score=True, num_threads=1)
    base = booster.predict(rows, pred_contrib=True, num_threads=1)[:, -1]

    found = model.reasons(rows, ["late"] * 100)

    sums = [sum(float(reason["contribution"]) for reason in row) for row in found]
    np.testing.assert_allclose(np.array(sums) + base, raw, atol=1e-9)
    codes = {reason["code"] for row in found for reason in row}
    assert "weather" in codes
    assert not codes & WEATHER.keys()


def test_the_strongest_come_first_for_those_who_ask_within_the_budget(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """`top` of them, for the declared decisions, for so many rows a batch."""
    model = Model(with_reasons(bundle, decisions=["late"], top=2, rows_per_batch=3))
    rows = matrix(contracts, model, flights[:10])
    decided = ["late", "on_time"] * 5

    found = model.reasons(rows, decided)

    assert [len(row) for row in found] == [2, 0, 2, 0, 2, 0, 0, 0, 0, 0]
    for row in found:
        sizes = [abs(float(reason["contribution"])) for reason in row]
        assert sizes == sorted(sizes, reverse=True)


def test_the_block_carries_them_and_the_score_is_the_same(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """A subscriber reads code and contribution; nothing else of the block changes."""
    plain = Enricher(POLICY, contracts, Model(bundle))
    asked = Enricher(POLICY, contracts, Model(with_reasons(bundle, decisions=["late"], top=3)))
    values = [frame(1) + datum for datum in flights[:500]]
    schema = contracts.versions("flights.decisions-value")[2].schema

    def blocks(enricher: Enricher) -> list[dict[str, Any]]:
        decisions = enricher.enrich(batch(values)).decisions
        return [
            dict(fastavro.schemaless_reader(io.BytesIO(decisions[row][0][5:]), schema.parsed, None))
            for row in range(500)
        ]

    late = 0
    for before, after in zip(blocks(plain), blocks(asked), strict=True):
        reasons = after.pop("reasons")
        assert before.pop("reasons") == []
        assert before == after
        assert len(reasons) == (3 if after["decision"] == "late" else 0)
        late += after["decision"] == "late"
    assert late > 10


def test_what_they_cost_is_told(contracts: Catalogue, bundle: Bundle, flights: list[bytes]) -> None:
    """Rows and seconds with the outcomes, from there into the worker's progress; by the command."""
    enricher = Enricher(POLICY, contracts, Model(with_reasons(bundle, decisions=["late"])))
    values = [frame(1) + datum for datum in flights[:500]]
    seconds = iter(range(1000))

    found = enricher.enrich(batch(values), Effort(clock=lambda: next(seconds) * 0.25))
    without = enricher.enrich(batch(values), Effort(reasons=False, clock=lambda: next(seconds)))
    journal = Journal(SystemClock())
    journal.committed(without)
    assert "reasons" not in journal.totals()
    journal.committed(found)
    journal.committed(found)

    late = sum(decision == "late" for decision in found.decided.values())
    assert (found.explained, without.explained) == (Explained(late, 0.25), NOTHING)
    told = {"rows": 2 * late, "seconds": 0.5, "us_a_row": round(0.25e6 / late, 1)}
    assert journal.totals()["reasons"] == told


def test_the_cost_of_a_reason_is_measured(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """A prediction takes time, a reason more of it."""
    model = Model(with_reasons(bundle, rows_per_batch=20))
    schema = contracts.versions("flights-value")[1].schema

    found = cost_of_reasons(model, Decoder(schema).decode(flights[:50]).table)

    assert 0 < found.prediction < found.reasons
    assert "µs of CPU a row" in str(found)


@pytest.mark.parametrize("wrong", [{"codes": {"nobody": "x"}}, {"decisions": ["nobody"]}])
def test_reasons_name_what_is_there(bundle: Bundle, wrong: dict[str, Any]) -> None:
    """A feature or a decision that the bundle lacks is a fault that names it."""
    document = bundle.manifest.model_dump(mode="json")

    with pytest.raises(ValidationError, match="there is no nobody"):
        Manifest.model_validate({**document, "reasons": {"decisions": ["late"], **wrong}})
