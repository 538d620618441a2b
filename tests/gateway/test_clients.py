"""A client that somebody generates from the OpenAPI document asks, and is answered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.gateway.conftest import KEY, Json
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.testing.environments import environment
from workers.topology import Topology

GENERATOR = ("openapi-python-client==0.29.1", "httpx==0.28.1", "attrs==26.1.0")
ASK = """
import json, sys
from made import AuthenticatedClient
from made.api.default import decide_flight_delays, get_decision, get_models
from made.models import FlightDelaysEvent

url, key, events = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
client = AuthenticatedClient(
    base_url=url, token=key, prefix="", auth_header_name="X-API-Key",
    raise_on_unexpected_status=True,
)
asked = [FlightDelaysEvent.from_dict(event) for event in events]
one = decide_flight_delays.sync(client=client, body=asked[0], reasons=True)
many = decide_flight_delays.sync(client=client, body=asked)
block = one.enrichment
again = get_decision.sync(block.decision_id, client=client)
wrong = FlightDelaysEvent.from_dict({**events[0], "flight": 2**40})
problem = decide_flight_delays.sync(client=client, body=wrong)
print(json.dumps({
    "one": one.to_dict(),
    "many": [each.to_dict() for each in many.outcomes],
    "again": again.to_dict(),
    "problem": problem.to_dict(),
    "models": get_models.sync(client=client).to_dict(),
}))
"""


def test_a_generated_client_asks_and_understands(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    events: list[Json],
    tmp_path: Path,
) -> None:
    """One event, several, a decision by its id, a problem with its field, what serves."""
    python = environment("openapi-client-0.29.1", GENERATOR)
    with GatewayDriver(gateway_topology(embedded)) as gateway:
        document = tmp_path / "openapi.json"
        document.write_bytes(httpx2.get(f"{gateway.url}/openapi.json").content)
        (tmp_path / "config.yaml").write_text("project_name_override: made\npost_hooks: []\n")
        generate = [
            str(python.with_name("openapi-python-client")), "generate", "--path", str(document),
            "--config", "config.yaml", "--meta", "none", "--output-path", "made",
        ]  # fmt: skip
        generated = subprocess.run(
            generate, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert generated.returncode == 0, generated.stdout + generated.stderr
        assert "WARNING" not in generated.stdout.upper(), generated.stdout
        asked = subprocess.run(
            [str(python), "-c", ASK, gateway.url, KEY, json.dumps(events[:3])],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["one"]["status"] == "decided"
    assert found["again"]["decision"] == found["one"]["enrichment"]
    scores = [each["enrichment"]["score"] for each in found["many"]]
    assert scores[0] == found["one"]["enrichment"]["score"]
    assert len(scores) == 3
    assert found["problem"]["errors"][0]["pointer"] == "#/flight"
    assert found["models"]["workers"][0]["worker"] == "flight-delays"
