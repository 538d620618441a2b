"""The chart, rendered by Helm's own library and held to schemas. No cluster takes part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.conftest import CHART, Document, Tools, one, read_yaml, values_file
from workers.topology import Topology, load

FILES = sorted(file.stem for file in (CHART / "ci").glob("*.yaml"))
ENV = {"KAFKA_PASSWORD": "x", "REGISTRY_PASSWORD": "x", "KAFKA_BOOTSTRAP_SERVERS": "k:9092"}
CLIENT = 40
"""Seconds that a process may need after its drain."""


@pytest.fixture(scope="module")
def rendered(tools: Tools) -> Mapping[str, list[Document]]:
    """The objects of every example."""
    return {name: tools.render(values_file(name)) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_what_is_rendered_is_what_kubernetes_takes(
    tools: Tools, rendered: Mapping[str, list[Document]], name: str
) -> None:
    """Every object fits a schema that knows its keys; Helm's lint finds nothing."""
    found = tools.lint(values_file(name))

    assert tools.faults(rendered[name]) == []
    assert [m for m in found["messages"] if m["severity"] > 1] == []
    assert found["errors"] == []


def test_everything_has_everything(rendered: Mapping[str, list[Document]]) -> None:
    """No part of the chart is left without a test."""
    kinds = {document["kind"] for documents in rendered.values() for document in documents}

    assert kinds >= {
        "Deployment", "StatefulSet", "Service", "ServiceAccount", "ConfigMap", "ScaledObject",
        "PodDisruptionBudget", "PodMonitor", "PrometheusRule", "NetworkPolicy", "Pod", "CronJob",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"apiVersion": "example.org/v1", "kind": "Unheard"}, "no schema describes"),
        ({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob"}, "no schema describes"),
        (
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "spec": {"scaleTargetRef": {"name": "a"}, "triggers": [], "maxReplicas": 3},
            },
            "maxReplicas",
        ),
        (
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "spec": {"groups": [{"name": "a", "rules": [{"alert": "A", "for": "10m"}]}]},
            },
            "expr",
        ),
        ({"apiVersion": "v1", "kind": "ServiceAccount", "automount": False}, "automount"),
    ],
)
def test_the_schemas_refuse(tools: Tools, document: Document, fault: str) -> None:
    """What this file rests on: unknown kinds, unknown keys and missing ones are faults."""
    assert fault in "".join(tools.faults([{"metadata": {"name": "x"}, **document}]))


@pytest.mark.parametrize("name", FILES)
def test_the_topology_in_the_chart_is_one_that_a_worker_takes(
    rendered: Mapping[str, list[Document]], name: str, tmp_path: Path
) -> None:
    """Its ConfigMap is loaded as a worker loads it; health and state are filled in."""
    maps = [d for d in rendered[name] if d["kind"] == "ConfigMap" and "topology.yaml" in d["data"]]
    for folder in ("schemas", "models"):
        (tmp_path / folder).mkdir()
    for document in maps:
        file = tmp_path / "topology.yaml"
        (tmp_path / "ca.crt").touch()
        text = document["data"]["topology.yaml"]
        file.write_text(text.replace("/etc/workers/tls", str(tmp_path)))

        loaded = load(file, ENV)

        assert loaded.health is not None
        assert (loaded.health.address, loaded.health.port) == ("0.0.0.0", 8787)  # noqa: S104
        assert str(loaded.state) == "/var/lib/workers/state"
    assert bool(maps) == (name != "configmap")


def _pods(documents: list[Document]) -> list[Document]:
    jobs = [d["spec"]["jobTemplate"] for d in documents if d["kind"] == "CronJob"]
    found = [
        d["spec"]["template"]["spec"]
        for d in (*documents, *jobs)
        if "template" in d.get("spec", {})
    ]
    return found + [d["spec"] for d in documents if d["kind"] == "Pod"]


@pytest.mark.parametrize("name", FILES)
def test_pods_are_restricted(rendered: Mapping[str, list[Document]], name: str) -> None:
    """What Kubernetes' Pod Security Standard `restricted` asks, and a read-only root besides."""
    for pod in _pods(rendered[name]):
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] >= 10_000
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
            assert {"/tmp", "/var/lib/workers"} <= writable  # noqa: S108
        assert all("hostPath" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize("name", FILES)
def test_a_pod_may_end_in_its_own_time(
    rendered: Mapping[str, list[Document]], name: str, topology: Topology
) -> None:
    """Kubernetes waits for the drain and for the client's goodbye."""
    given = values_file(name)
    declared = given["topology"]["workers"]["flight-delays"] if given.get("topology") else {}
    drain = {"2m": 120, None: given.get("drainSeconds", 20)}[declared.get("drain_timeout")]

    for document in rendered[name]:
        if "template" in document.get("spec", {}):
            grace = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace == drain + CLIENT
    assert topology.workers["flight-delays"].drain_timeout == 20, "the chart's default"


def test_probes_ask_what_they_should(rendered: Mapping[str, list[Document]]) -> None:
    """Liveness and start ask /livez, which no outage of brokers fails; readiness asks /readyz."""
    for name in FILES:
        for pod in _pods(rendered[name]):
            for container in (c for c in pod["containers"] if c["name"] == "worker"):
                paths = {
                    kind: container[kind]["httpGet"]["path"]
                    for kind in ("startupProbe", "livenessProbe", "readinessProbe")
                }
                assert paths == {
                    "startupProbe": "/livez",
                    "livenessProbe": "/livez",
                    "readinessProbe": "/readyz",
                }
                start = container["startupProbe"]
                assert start["periodSeconds"] * start["failureThreshold"] == 600


# KEDA's documentation of its scaler `kafka`, and of `prometheus`.
_METADATA = {
    "kafka": {
        "bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold",
        "offsetResetPolicy", "allowIdleConsumers", "scaleToZeroOnInvalidOffset",
        "excludePersistentLag", "limitToPartitionsWithLag", "partitionLimitation", "version",
        "sasl", "tls", "unsafeSsl", "ensureEvenDistributionOfPartitions",
    },
    "prometheus": {"serverAddress", "query", "threshold", "activationThreshold"},
}  # fmt: skip


def test_keda_watches_what_the_worker_reads(rendered: Mapping[str, list[Document]]) -> None:
    """Group, topic and where it begins are the topology's: else the lag is another's."""
    spec = one(rendered["everything"], "ScaledObject")["spec"]
    declared = values_file("everything")["topology"]["workers"]["flight-delays"]

    for trigger in spec["triggers"]:
        assert set(trigger["metadata"]) <= _METADATA[trigger["type"]]
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    metadata = spec["triggers"][0]["metadata"]
    assert metadata["consumerGroup"] == declared["group"]
    assert metadata["topic"] == declared["input"]["topic"]
    assert metadata["offsetResetPolicy"] == declared["first_start"]


def test_alerts_may_be_left_out_and_point_at_your_runbooks(
    rendered: Mapping[str, list[Document]],
) -> None:
    """`disabled` by name, `runbookBaseUrl` in front of every runbook."""
    groups = one(rendered["everything"], "PrometheusRule")["spec"]["groups"]
    written = [
        rule["alert"]
        for file in (CHART / "files" / "alerts").glob("*.yaml")
        for group in read_yaml(file.read_text())[0]["groups"]
        for rule in group["rules"]
    ]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}

    assert set(written) - set(rules) == {"ModelOld"}
    for name, rule in rules.items():
        url = rule["annotations"]["runbook_url"]
        assert url == f"https://runbooks.example/workers/docs/runbooks/{name}.md"


def test_secrets_are_only_named(rendered: Mapping[str, list[Document]]) -> None:
    """No Secret is made, and no value of one is in any object."""
    for documents in rendered.values():
        assert all(document["kind"] != "Secret" for document in documents)
    pod = one(rendered["everything"], "Deployment")["spec"]["template"]["spec"]
    names = [entry["secretRef"]["name"] for entry in pod["containers"][0]["envFrom"]]
    assert names == ["kafka-flights", "registry-flights"]
    data = [d["data"] for d in rendered["everything"] if d["kind"] == "ConfigMap"]
    assert "${KAFKA_PASSWORD}" in str(data)


def test_the_helm_test_is_the_doctor(rendered: Mapping[str, list[Document]]) -> None:
    """A pod like the worker's, which asks what it will need."""
    pod = one(rendered["everything"], "Pod")
    worker = one(rendered["everything"], "Deployment")["spec"]["template"]["spec"]

    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"][0] == "doctor"
    for key in ("env", "envFrom", "volumeMounts", "image"):
        assert pod["spec"]["containers"][0][key] == worker["containers"][0][key]
