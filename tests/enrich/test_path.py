"""Every row of a batch has exactly one outcome, and no row touches another's."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pytest

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.enrich.policy import Policy
from workers.errors import ContractError, Halt, Verdict
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.topology import OnModelFailure, Tombstones, Unframed

POLICY = Policy(
    worker="flight-delays",
    input_subject="flights-value",
    output_subject="flights.enriched-value",
    decisions_subject="flights.decisions-value",
)


def batch(values: Sequence[bytes | None]) -> Batch:
    """A batch of these values, all of partition 3."""
    count = len(values)
    return Batch(
        topic="flights",
        now=1_700_000_000_000,
        keys=[b"key"] * count,
        values=list(values),
        headers=[None] * count,
        partitions=[3] * count,
        offsets=list(range(100, 100 + count)),
        timestamps=[(1, 0)] * count,
    )


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Model:
    """The demo's model, loaded."""
    return Model(bundle)


@pytest.fixture
def enricher(contracts: Catalogue, model: Model) -> Enricher:
    """The demo's path."""
    return Enricher(POLICY, contracts, model)


def read(contracts: Catalogue, subject: str, value: bytes | None) -> dict[str, Any]:
    """A framed value as a subscriber with fastavro reads it."""
    assert value is not None
    registered = [*contracts.versions(subject).values()][-1]
    assert value[:5] == registered.frame
    stream = io.BytesIO(value[5:])
    event = fastavro.schemaless_reader(stream, registered.schema.parsed, None)
    assert not stream.read()
    assert isinstance(event, dict)
    return event


def test_an_enriched_event_is_the_event_and_the_block(
    enricher: Enricher, contracts: Catalogue, flights: list[bytes], model: Model
) -> None:
    """The input's bytes come first, untouched; the block says who decided what, and when."""
    values = [frame(1) + datum for datum in flights]

    outcomes = enricher.enrich(batch(values))

    assert len(outcomes.enriched) == 4000
    value = outcomes.enriched[17]
    assert value is not None
    assert value[5:].startswith(flights[17])
    event = read(contracts, "flights.enriched-value", value)
    block = event["enrichment"]
    assert block["decision_id"] == "flight-delays:flights:3:117"
    assert (block["model"], block["model_version"]) == ("flight-delay", "1")
    assert block["decision"] in model.decisions
    assert 0 <= block["score"] <= 1
    assert (block["fallback"], block["fallback_reason"]) == (False, None)
    assert block["scored_at"].timestamp() == 1_700_000_000
    decision = read(contracts, "flights.decisions-value", outcomes.decisions[17][0])
    assert {name: decision[name] for name in block} == block
    assert len(outcomes.decided) == 4000


@pytest.mark.parametrize("seed", range(5))
def test_bad_rows_are_rejected_alone(enricher: Enricher, flights: list[bytes], seed: int) -> None:
    """Bad rows at random places are rejected; every other row is as it would be without them."""
    rng = random.Random(seed)
    values: list[bytes | None] = [frame(1) + datum for datum in flights]
    clean = enricher.enrich(batch(values))
    bad = {
        row: rng.choice(
            [b"", b"{}", frame(99) + b"x", frame(1), frame(1) + b"\xff" * 9, frame(101)]
        )
        for row in rng.sample(range(4000), 40)
    }
    for row, value in bad.items():
        values[row] = value

    outcomes = enricher.enrich(batch(values))

    assert outcomes.rejected.keys() == bad.keys()
    assert outcomes.enriched == {
        row: value for row, value in clean.enriched.items() if row not in bad
    }


VERDICTS = [
    (b'{"json": true}', Verdict.DECODE, "unframed"),
    (b"", Verdict.DECODE, "unframed"),
    (frame(77) + b"x", Verdict.CONTRACT, "unknown_schema"),
    (frame(101) + b"x", Verdict.CONTRACT, "other_subject"),
    (frame(1) + b"x", Verdict.DECODE, "malformed"),
    (b"\x00" * (1024 * 1024 + 1), Verdict.DECODE, "payload_too_large"),
]


@pytest.mark.parametrize(("value", "verdict", "code"), VERDICTS)
def test_verdicts(enricher: Enricher, value: bytes, verdict: Verdict, code: str) -> None:
    """Each cause has its verdict and its stable code."""
    rejection = enricher.enrich(batch([value])).rejected[0]

    assert (rejection.reject.verdict, rejection.reject.code) == (verdict, code)


def test_tombstones_and_unframed_bytes_follow_the_policy(
    contracts: Catalogue, model: Model
) -> None:
    """Forwarded, dropped or dead-lettered, as declared; counted in every case."""
    values = [None, b"not framed"]

    forwarded = Enricher(POLICY, contracts, model).enrich(batch(values))
    dropping = replace(POLICY, tombstones=Tombstones.DROP, unframed=Unframed.DROP)
    dropped = Enricher(dropping, contracts, model).enrich(batch(values))
    refusing = replace(POLICY, tombstones=Tombstones.DEAD_LETTER)
    refused = Enricher(refusing, contracts, model).enrich(batch(values))

    assert forwarded.enriched == {0: None}
    assert dropped.dropped == {0, 1}
    assert refused.rejected.keys() == {0, 1}


class BrokenBooster:
    """A booster whose native library fails."""

    def predict(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Fail as LightGBM may."""
        raise RuntimeError("native failure")


@pytest.mark.parametrize("policy", OnModelFailure)
def test_a_failing_model_follows_the_policy(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes], policy: OnModelFailure
) -> None:
    """Fallback decision with its cause, dead letters, or a halt."""
    model = Model(bundle).scored_by(BrokenBooster())
    enricher = Enricher(replace(POLICY, on_model_failure=policy), contracts, model)
    values = [frame(1) + datum for datum in flights[:3]]

    if policy is OnModelFailure.HALT:
        with pytest.raises(Halt, match="predict failed"):
            enricher.enrich(batch(values))
        return
    outcomes = enricher.enrich(batch(values))

    if policy is OnModelFailure.DEAD_LETTER:
        assert {r.reject.verdict for r in outcomes.rejected.values()} == {Verdict.MODEL}
        return
    block = read(contracts, "flights.enriched-value", outcomes.enriched[1])["enrichment"]
    assert (block["decision"], block["score"]) == ("review", None)
    assert (block["fallback"], block["fallback_reason"]) == (True, "model_failed")


def test_a_worker_without_a_derived_output_does_not_start(
    contracts: Catalogue, model: Model
) -> None:
    """The error says what to derive."""
    with pytest.raises(ContractError, match="derived"):
        Enricher(replace(POLICY, output_subject="flights-value"), contracts, model)
    with pytest.raises(ContractError, match="no contract named nope"):
        Enricher(replace(POLICY, input_subject="nope"), contracts, model)
