"""The OpenAPI document says what the gateway does: read by a validator, and by a fuzzer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.gateway.conftest import KEY, PATH, Json, made_topology
from workers.contracts.catalogue import Catalogue
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import Topology

EXAMPLES = 40
"""Requests of each kind for each operation."""


@pytest.fixture(scope="module")
def gateway(embedded: EmbeddedBroker, topology: Topology) -> Iterator[GatewayDriver]:
    """One for all of these."""
    with GatewayDriver(made_topology(topology, embedded)) as driver:
        yield driver


@pytest.fixture(scope="module")
def document(gateway: GatewayDriver) -> Json:
    """What is served."""
    found: Json = httpx2.get(f"{gateway.url}/openapi.json").json()
    return found


def resolved(document: Json, name: str) -> Json:
    """A schema of the document that can be validated with."""
    return {**document, "$ref": f"#/components/schemas/{name}"}


def test_examples_and_answers_are_as_the_document_says(
    document: Json,
    gateway: GatewayDriver,
    client: Callable[[GatewayDriver], httpx2.Client],
    events: list[Json],
) -> None:
    """The contract's own examples, real events, and what they are answered."""
    body = document["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]
    asking = client(gateway)
    event = jsonschema.Draft202012Validator(resolved(document, "FlightDelaysEvent"))
    decided = jsonschema.Draft202012Validator(resolved(document, "FlightDelaysDecided"))
    outcomes = jsonschema.Draft202012Validator(resolved(document, "FlightDelaysOutcomes"))

    assert document["openapi"].startswith("3.1")
    assert len(body["examples"]) >= 3
    for name, example in body["examples"].items():
        answer = asking.post(PATH, json=example["value"])
        assert answer.status_code == 200
        (outcomes if name == "many" else decided).validate(answer.json())
    for each in events[:20]:
        event.validate(each)
    mixed = asking.post(f"{PATH}?reasons=true", json=[events[0], {}])
    outcomes.validate(mixed.json())


OPERATIONS = [("POST", PATH), ("GET", "/v1/decisions/{decision_id}"), ("GET", "/v1/models")]
OURS = ("positive_data_acceptance", "negative_data_rejection")
"""Judged by us: a valid event may be one that cannot be decided, and an event of a list that is
wrong is an outcome of it.
"""


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=["decide", "look-up", "models"])
def test_the_document_holds_whatever_fits_it(
    document: Json, gateway: GatewayDriver, method: str, path: str
) -> None:
    """No 5xx, no status and no body that is not in it."""

    def judge(answer: Any, _: Any) -> None:
        found = {200, 404} if "{" in path else {200}
        # A key that comes again with another body is refused, as it should be.
        ends = (":rejected", ":idempotency-key-reused")
        rejected = answer.status_code == 422 and answer.json()["type"].endswith(ends)
        assert answer.status_code in found or rejected

    fuzz(document, gateway, (method, path, GenerationMode.POSITIVE), judge)


def test_what_the_document_forbids_is_refused(document: Json, gateway: GatewayDriver) -> None:
    """As the document says; in a list the event that is wrong is."""

    def judge(answer: Any, case: Any) -> None:
        if answer.status_code == 200:
            assert isinstance(case.body, list)
            assert any(each["status"] == "rejected" for each in answer.json()["outcomes"])

    fuzz(document, gateway, ("POST", PATH, GenerationMode.NEGATIVE), judge)


def fuzz(
    document: Json,
    gateway: GatewayDriver,
    what: tuple[str, str, GenerationMode],
    judge: Callable[[Any, Any], None],
) -> None:
    """Send what is made of the document."""
    method, path, mode = what
    operation: Any = schemathesis.openapi.from_dict(document)[path][method]
    excluded = schemathesis.checks.CHECKS.get_by_names([*OURS, "ignored_auth"])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        headers = {"X-API-Key": KEY}
        answer = case.call_and_validate(
            base_url=gateway.url, headers=headers, excluded_checks=excluded
        )
        judge(answer, case)

    send()


def test_no_field_of_the_contract_is_missing(document: Json, contracts: Catalogue) -> None:
    """In the events and in the block."""
    schemas = document["components"]["schemas"]
    event = contracts.versions("flights-value")[1].schema
    block = contracts.versions("flights.decisions-value")[2].schema

    assert tuple(schemas["FlightDelaysEvent"]["properties"]) == event.field_names
    assert tuple(schemas["FlightDelaysBlock"]["properties"]) == block.field_names
