"""Nothing that a record holds is in a log line, a metric, a span, an error or a header of ours."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from tests.telemetry.collector import at, collecting
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.stream.logs import configure_logging
from workers.telemetry.prometheus import Rendering
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
def test_no_content_is_in_a_log_line_a_metric_a_span_or_a_header(
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
    headers: list[tuple[str, bytes | None]] = [
        ("own", CONTENT.encode()),
        ("traceparent", f"00-{'7' * 32}-{'7' * 16}-01".encode()),
        ("tracestate", f"own={CONTENT}".encode()),
        ("baggage", f"name={CONTENT}".encode()),
    ]
    produce(
        embedded.bootstrap_servers,
        worker.input.topic,
        [Sent(value, CONTENT.encode(), headers) for value in values],
    )
    model = Model(bundle)
    model = model.scored_by(Talkative()) if failing else model
    enricher = Enricher(policy_of(worker), contracts, model)

    with (
        collecting() as taken,
        Driver(at(top, taken.address), worker, enricher) as driver,
        Reader(embedded.bootstrap_servers, worker.dead_letter.topic) as dead,
        Reader(embedded.bootstrap_servers, worker.output.topic) as enriched,
    ):
        while len(dead.records) + len(enriched.records) < len(values):
            dead.read(0.1)
            enriched.read(0.1)
        driver.stop()
        metrics = Rendering({worker.name: driver.registry})()

    # At least once each: a text that is no record, a field of the wrong kind, an unknown schema.
    assert {"malformed", "unknown_schema", "unframed"} <= {
        record.header("__workers.code") for record in dead.records
    }
    codes = {record.header("__workers.code") for record in dead.records}
    assert ("model_failed" if failing else "rule") in codes

    own = {name for name, _ in headers}
    said = [
        content for record in dead.records for name, content in record.headers if name not in own
    ]
    assert said
    assert any(span.links for span in taken.spans)
    assert any(span.name.startswith("reject") for span in taken.spans)
    said += [metrics, *taken.bodies]
    assert all(CONTENT.encode() not in (content or b"") for content in said)
    assert all(str(NUMBER).encode() not in (content or b"") for content in said)
    out, err = capfd.readouterr()
    assert "worker.started" in err
    assert CONTENT not in out + err
    assert str(NUMBER) not in out + err
