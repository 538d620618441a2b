"""compose.yaml, read by docker-compose itself; no daemon takes part, so nothing is started."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from examples.flights.produce import flights, produce
from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY, Tools, read_yaml
from workers.gateway.callers import hashed
from workers.testing import EmbeddedBroker, Reader
from workers.topology import load

COMPOSE = DEPLOY / "compose"


@pytest.fixture(scope="module")
def services(tools: Tools) -> Mapping[str, Any]:
    """As docker-compose understands them, all profiles."""
    done = tools.run(
        "docker-compose", "-f", "deploy/compose.yaml", "--profile", "*", "config",
        "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_every_part_is_there(services: Mapping[str, Any]) -> None:
    """By profile; Kafka has none and always runs."""
    profiles = {name: service.get("profiles", []) for name, service in services.items()}

    assert profiles == {
        "kafka": [],
        "input": ["worker", "demo", "gateway", "sidecar"],
        "topics": ["worker", "demo", "gateway", "sidecar"],
        "gateway": ["gateway", "sidecar"],
        "proxy": ["sidecar"],
        "system": ["sidecar"],
        "worker": ["worker", "demo"],
        "producer": ["demo"],
        "subscriber": ["demo"],
        "registry": ["registry"],
        "prometheus": ["watch"],
        "grafana": ["watch"],
        "collector": ["watch"],
    }


def test_every_file_is_there_and_nothing_is_published_to_the_world(
    services: Mapping[str, Any],
) -> None:
    """What is mounted exists and is read-only; ports are of this host alone; tags are exact."""
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume
                assert volume["read_only"], volume
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        assert not service["image"].endswith(":latest")


def test_what_is_ours_runs_as_it_would_in_production(services: Mapping[str, Any]) -> None:
    """Read-only, without rights, with time to drain."""
    ours = {n: s for n, s in services.items() if s["image"] == "enrichment-workers:local"}

    assert set(ours) == {
        "topics", "worker", "gateway", "proxy", "system", "producer", "subscriber",
    }  # fmt: skip
    for service in ours.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "/tmp" in service["tmpfs"]  # noqa: S108
    assert ours["worker"]["stop_grace_period"] == "1m0s"


def test_its_topology_is_one_that_a_worker_takes(
    services: Mapping[str, Any], tmp_path: Path
) -> None:
    """With the files that are mounted beside it, and on the port that is asked."""
    for volume in services["worker"]["volumes"]:
        place = tmp_path / Path(volume["target"]).relative_to("/etc/workers")
        place.symlink_to(volume["source"])

    loaded = load(tmp_path / "topology.yaml", {})

    assert loaded.health is not None
    port = loaded.health.port
    assert f":{port}/readyz" in str(services["worker"]["healthcheck"]["test"])
    scrapes = read_yaml((COMPOSE / "prometheus.yaml").read_text())[0]["scrape_configs"]
    assert scrapes[0]["dns_sd_configs"][0] | {"refresh_interval": ""} == {
        "names": ["worker"], "type": "A", "port": port, "refresh_interval": "",
    }  # fmt: skip
    assert loaded.telemetry.endpoint == "http://collector:4318"
    collector = read_yaml((COMPOSE / "collector.yaml").read_text())[0]
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["processors"]) <= set(collector["processors"])
        assert set(pipeline["exporters"]) <= set(collector["exporters"])


def test_the_gateway_s_topology_is_one_that_it_takes(
    services: Mapping[str, Any], tmp_path: Path
) -> None:
    """With one caller, whose key the proxy has; each asks the other where it listens."""
    for volume in services["gateway"]["volumes"]:
        place = tmp_path / Path(volume["target"]).relative_to("/etc/workers")
        place.symlink_to(volume["source"])

    loaded = load(tmp_path / "topology.yaml", {})

    assert loaded.gateway is not None
    assert loaded.proxy is not None
    assert loaded.proxy.key is not None
    (caller,) = loaded.gateway.callers.values()
    assert caller.keys == (hashed(loaded.proxy.key.get_secret_value()),)
    assert loaded.proxy.gateway == f"http://gateway:{loaded.gateway.port}"
    assert loaded.proxy.upstream == "http://system:" + services["system"]["command"][1]
    assert loaded.health is not None
    assert str(loaded.health.address) == "0.0.0.0"  # noqa: S104  of a container
    scrapes = read_yaml((COMPOSE / "prometheus.yaml").read_text())[0]["scrape_configs"]
    ports = {s["job_name"]: s["dns_sd_configs"][0]["port"] for s in scrapes[:3]}
    assert (ports["gateway"], ports["proxy"]) == (
        loaded.gateway.health_port,
        loaded.proxy.health_port,
    )


def test_grafana_finds_what_it_is_given(services: Mapping[str, Any]) -> None:
    """The dashboards' folder is the one that is mounted; the source is Prometheus."""
    provisioning = COMPOSE / "grafana" / "provisioning"
    provider = read_yaml((provisioning / "dashboards" / "workers.yaml").read_text())[0]
    source = read_yaml((provisioning / "datasources" / "prometheus.yaml").read_text())[0]
    targets = [volume["target"] for volume in services["grafana"]["volumes"]]

    assert provider["providers"][0]["options"]["path"] in targets
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_prometheus_takes_its_configuration(
    promtool: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """promtool reads it as Prometheus does."""
    done = promtool("check", "config", "--syntax-only", str(COMPOSE / "prometheus.yaml"))

    assert done.returncode == 0, done.stderr


def test_commands_are_ones_that_there_are(services: Mapping[str, Any]) -> None:
    """Each module of an entrypoint is in the checkout; ours have the worker of the topology."""
    for name in ("producer", "subscriber", "system"):
        assert importlib.util.find_spec(services[name]["entrypoint"][-1]) is not None
    topology = read_yaml((COMPOSE / "topology.yaml").read_text())[0]
    for name in ("topics", "worker"):
        assert services[name]["command"][1] in topology["workers"]


def test_the_producer_sends_flights() -> None:
    """Every one of the month's, framed with the contract's id."""
    records = flights(ROOT / "schemas")
    with EmbeddedBroker() as broker:
        broker.create_topic("flights", 1)
        produce(broker.bootstrap_servers, "flights", records[:300], 1e9)
        with Reader(broker.bootstrap_servers, "flights") as reader:
            reader.until(lambda records: len(records) == 300)

    assert [(record.key, record.value) for record in reader.records] == records[:300]
