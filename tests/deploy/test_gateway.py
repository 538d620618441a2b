"""The gateway's Deployment, Service and autoscaler; and the gateway beside a system in one pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOY, Document, Refused, Tools, read_yaml, values_file
from workers.topology import load


def given(**changes: Any) -> Document:
    """The least values, with a gateway."""
    plain = values_file("minimal")
    topology = {**plain["topology"], "gateway": {"host": "0.0.0.0"}}  # noqa: S104  of a pod
    return {**plain, "topology": topology, "gateway": {"enabled": True, **changes}}


def test_the_gateway_has_pods_of_its_own_and_is_scaled_by_processor(tools: Tools) -> None:
    """No selector of the worker's takes them; every object is one that Kubernetes takes."""
    documents = tools.render(given())
    found = {d["kind"]: d for d in documents if d["metadata"]["name"].endswith("-gateway")}
    worker = next(
        d for d in documents if d["kind"] == "Deployment" and d is not found["Deployment"]
    )

    assert tools.faults(documents) == []
    assert set(found) == {"Deployment", "Service", "HorizontalPodAutoscaler"}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert not worker["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert scaler["metrics"][0]["resource"]["name"] == "cpu"
    assert "replicas" not in found["Deployment"]["spec"], "they are the autoscaler's"
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] == "serve"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    fixed = tools.render(given(autoscaling={"enabled": False}, replicas=3))
    kinds = [d["kind"] for d in fixed]
    assert "HorizontalPodAutoscaler" not in kinds
    assert 3 in [d["spec"].get("replicas") for d in fixed if d["kind"] == "Deployment"]


def test_metrics_are_for_monitoring_and_decisions_for_callers(tools: Tools) -> None:
    """A PodMonitor of the gateway's own; its policy lets Prometheus read, and callers ask."""
    clients = [{"podSelector": {"matchLabels": {"app": "billing"}}}]
    policy = {"enabled": True, "gatewayClients": clients}
    values = {**given(), "podMonitor": {"enabled": True}, "networkPolicy": policy}
    documents = tools.render(values)
    own = {d["kind"]: d for d in documents if d["metadata"]["name"].endswith("-gateway")}
    pod = own["Deployment"]["spec"]["template"]
    named = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}

    assert tools.faults(documents) == []
    assert named == {"http": 8080, "health": 8788}
    labels = pod["metadata"]["labels"]
    for kind, selector in (("PodMonitor", "selector"), ("NetworkPolicy", "podSelector")):
        assert own[kind]["spec"][selector]["matchLabels"].items() <= labels.items()
    (endpoint,) = own["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("health", "/metrics")
    asked, read = own["NetworkPolicy"]["spec"]["ingress"]
    assert asked == {"ports": [{"port": "http", "protocol": "TCP"}], "from": clients}
    assert [port["port"] for port in read["ports"]] == ["health"]
    assert "monitoring" in str(read["from"])
    ports = own["Service"]["spec"]["ports"]
    assert [port["name"] for port in ports] == ["http"], "no service leads to the pages"


def test_a_gateway_that_nobody_could_reach_is_refused(tools: Tools) -> None:
    """On loopback, or on another port than the pod's."""
    values = given()
    with pytest.raises(Refused, match="listens on another port"):
        tools.render({**values, "gateway": {"enabled": True, "port": 9090}})
    with pytest.raises(Refused, match="another health_port"):
        tools.render({**values, "gateway": {"enabled": True, "healthPort": 9090}})
    values["topology"] = {**values["topology"], "gateway": {}}
    with pytest.raises(Refused, match="must be reachable"):
        tools.render(values)


def test_the_pod_with_a_sidecar_is_one_that_kubernetes_takes(tools: Tools, tmp_path: Path) -> None:
    """Its topology is taken as well; gateway and proxy meet at the socket that both mount."""
    documents = read_yaml((DEPLOY / "sidecar" / "pod.yaml").read_text())
    config = next(d for d in documents if d["kind"] == "ConfigMap")
    pod = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    for folder in ("schemas", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "topology.yaml").write_text(config["data"]["topology.yaml"])

    loaded = load(tmp_path / "topology.yaml", {})

    assert tools.faults(documents) == []
    assert loaded.gateway is not None
    assert loaded.proxy is not None
    shared = str(loaded.gateway.socket.parent) if loaded.gateway.socket else ""
    beside = {c["name"]: c for c in pod["initContainers"]}
    for container in beside.values():
        assert shared in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert container["restartPolicy"] == "Always"
    assert beside["proxy"]["ports"][0]["containerPort"] == loaded.proxy.port
    own = pod["containers"][0]["ports"][0]["containerPort"]
    assert loaded.proxy.upstream == f"http://127.0.0.1:{own}"
