"""Nothing that a record holds is in a log line, an error or a header that we write."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.stream.logs import configure_logging
from workers.testing import Driver, EmbeddedBroker, Reader, Sent, isolated, produce
from workers.topology import Delivery, OnModelFailure, RuleSet, Topology
from workers.wiring import pick, policy_of

CONTENT = "Ada-Lovelace-1815"
NUMBER = 77_123_456
"""In every number that the contract lets be so large."""


def filled(contracts: Catalogue, flights: list[bytes], **changes: Any) -> bytes:
    """A real event with the secret in every text."""
    schema = contracts.versions("flights-value")[1].schema
    event: Any = fastavro.schemaless_reader(io.BytesIO(flights[0]), schema.parsed, None)
    secret = dict.fromkeys(("flight_id", "carrier", "tailnum", "dest"), CONTENT)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, {**event, **secret, **changes})
    return out.getvalue()


class Talkative:
    """A library that repeats what it was given in its error."""

    def predict(self, matrix: Any) -> Any:
        """Fail."""
        raise RuntimeError(f"cannot predict {CONTENT} {matrix}")


@pytest.mark.parametrize("failing", [False, True])
def test_no_content_is_in_a_log_line_or_a_header(
    failing: bool,
    embedded: EmbeddedBroker,
    topology: Topology,
    bundle: Bundle,
    contracts: Catalogue,
    flights: list[bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever is wrong with the record; what is beside it is not said either."""
    configure_logging()
    rules = RuleSet.model_validate(
        {"before": [{"name": "r", "when": "CAST(tailnum AS BIGINT) > 1", "decision": "review"}]}
    )
    top, worker = isolated(
        topology,
        pick(topology, None),
        embedded,
        delivery=Delivery.EXACTLY_ONCE,
        on_model_failure=OnModelFailure.DEAD_LETTER,
        rules=RuleSet() if failing else rules,
    )
    whole = filled(contracts, flights)
    values = [
        frame(1) + whole[:-3],
        frame(1) + whole + CONTENT.encode(),
        frame(1) + filled(contracts, flights, distance=NUMBER),
        frame(1) + filled(contracts, flights, departure_delay=NUMBER),
        frame(99_999) + whole,
        CONTENT.encode(),
        json.dumps({"name": CONTENT}).encode(),
        frame(1) + whole,
    ]
    headers: list[tuple[str, bytes | None]] = [("own", CONTENT.encode())]
    produce(
        embedded.bootstrap_servers,
        worker.input.topic,
        [Sent(value, CONTENT.encode(), headers) for value in values],
    )
    model = Model(bundle)
    model = model.scored_by(Talkative()) if failing else model
    enricher = Enricher(policy_of(worker), contracts, model)

    with (
        Driver(top, worker, enricher),
        Reader(embedded.bootstrap_servers, worker.dead_letter.topic) as dead,
        Reader(embedded.bootstrap_servers, worker.output.topic) as enriched,
    ):
        while len(dead.records) + len(enriched.records) < len(values):
            dead.read(0.1)
            enriched.read(0.1)

    # At least once each: a text that is no record, a field of the wrong kind, an unknown schema.
    assert {"malformed", "unknown_schema", "unframed"} <= {
        record.header("__workers.code") for record in dead.records
    }
    codes = {record.header("__workers.code") for record in dead.records}
    assert ("model_failed" if failing else "rule") in codes

    said = [content for record in dead.records for name, content in record.headers if name != "own"]
    assert said
    assert all(CONTENT.encode() not in (content or b"") for content in said)
    assert all(str(NUMBER).encode() not in (content or b"") for content in said)
    out, err = capfd.readouterr()
    assert "worker.started" in err
    assert CONTENT not in out + err
    assert str(NUMBER) not in out + err
