"""Base and overlays, built by kubectl and held to the same schemas as the chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.conftest import DEPLOY, Document, Tools, one, values_file
from workers.topology import load

PLACES = ("base", "overlays/dev", "overlays/prod", "overlays/feedback")
ENV = {"KAFKA_USERNAME": "x", "KAFKA_PASSWORD": "x", "KAFKA_BOOTSTRAP_SERVERS": "k:9092"}


@pytest.fixture(scope="module")
def built(tools: Tools) -> Mapping[str, list[Document]]:
    """The objects of each."""
    found = {}
    for place in PLACES:
        done = tools.run("kubectl", "kustomize", str(DEPLOY / "kustomize" / place))
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "nothing deprecated"
        found[place] = tools.yaml(done.stdout)
    return found


@pytest.mark.parametrize("place", PLACES)
def test_what_is_built_is_what_kubernetes_takes(
    tools: Tools, built: Mapping[str, list[Document]], place: str
) -> None:
    """Every object fits a schema that knows its keys."""
    assert tools.faults(built[place]) == []


@pytest.mark.parametrize("place", PLACES)
def test_its_topology_is_one_that_a_worker_takes(
    built: Mapping[str, list[Document]], place: str, tmp_path: Path
) -> None:
    """And the pod waits for the drain, and is asked on the port that it names."""
    for folder in ("schemas", "models"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "topology.yaml"
    (tmp_path / "ca.crt").touch()
    text = one(built[place], "ConfigMap")["data"]["topology.yaml"]
    file.write_text(text.replace("/etc/workers/tls", str(tmp_path)))
    pod = one(built[place], "Deployment")["spec"]["template"]["spec"]

    loaded = load(file, ENV)

    worker = loaded.workers[pod["containers"][0]["args"][1]]
    assert pod["terminationGracePeriodSeconds"] >= worker.drain_timeout + 40
    assert loaded.health is not None
    assert loaded.health.port == pod["containers"][0]["ports"][0]["containerPort"]
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert ("/etc/workers/models" in mounted) == (loaded.models.directory is not None)


@pytest.mark.parametrize("place", PLACES)
def test_its_pods_are_as_the_charts(
    tools: Tools, built: Mapping[str, list[Document]], place: str
) -> None:
    """Probes and restrictions do not drift apart."""
    chart = one(
        tools.render(
            {
                "image": {"repository": "registry.example/workers"},
                "worker": "flight-delays",
                "topologyConfigMap": "topology",
            }
        ),
        "Deployment",
    )["spec"]["template"]["spec"]
    pod = one(built[place], "Deployment")["spec"]["template"]["spec"]

    assert pod["securityContext"] == chart["securityContext"]
    assert pod["terminationGracePeriodSeconds"] == chart["terminationGracePeriodSeconds"]
    ours, theirs = pod["containers"][0], chart["containers"][0]
    assert ours["securityContext"] == theirs["securityContext"]
    assert ours["args"] == theirs["args"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert ours[probe]["httpGet"] == theirs[probe]["httpGet"]


def test_production_leaves_replicas_to_keda(built: Mapping[str, list[Document]]) -> None:
    """And names the group and topic of its own topology."""
    documents = built["overlays/prod"]
    trigger = one(documents, "ScaledObject")["spec"]["triggers"][0]["metadata"]
    text = one(documents, "ConfigMap")["data"]["topology.yaml"]

    assert "replicas" not in one(documents, "Deployment")["spec"]
    assert f"input: {{topic: {trigger['topic']}}}" in text
    assert f"bootstrap_servers: {trigger['bootstrapServers']}" in text


def test_the_loop_is_as_the_charts(tools: Tools, built: Mapping[str, list[Document]]) -> None:
    """One CronJob that the worker's selectors do not take, its ConfigMap the worker's."""
    documents = built["overlays/feedback"]
    values = values_file("everything")
    values["feedback"]["loops"] = [{"name": "flights", "schedule": "17 3 * * *", "keep": 20}]
    values["feedback"].pop("resources")
    ours, theirs = (
        one(found, "CronJob")["spec"]
        for found in (documents, tools.render(values, "flight-delays"))
    )
    pod, chart = (spec["jobTemplate"]["spec"]["template"] for spec in (ours, theirs))
    deployment = one(documents, "Deployment")["spec"]

    for key in ("schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds"):
        assert ours[key] == theirs[key]
    for key in ("backoffLimit", "activeDeadlineSeconds", "podFailurePolicy"):
        assert ours["jobTemplate"]["spec"][key] == theirs["jobTemplate"]["spec"][key]
    for key in ("securityContext", "restartPolicy", "terminationGracePeriodSeconds"):
        assert pod["spec"][key] == chart["spec"][key]
    for key in ("args", "securityContext", "resources"):
        assert pod["spec"]["containers"][0][key] == chart["spec"]["containers"][0][key]
    selector = deployment["selector"]["matchLabels"].items()
    assert not selector <= pod["metadata"]["labels"].items()
    volumes = deployment["template"]["spec"]["volumes"]
    topology = next(volume for volume in volumes if volume["name"] == "topology")
    assert topology in pod["spec"]["volumes"]
    assert "-" in topology["configMap"]["name"], "the digest is in it"
    declared = one(documents, "ConfigMap")["data"]["topology.yaml"]
    assert f"{pod['spec']['containers'][0]['args'][2]}:" in declared
    others = (built[place] for place in PLACES if place != "overlays/feedback")
    assert all(document["kind"] != "CronJob" for found in others for document in found)
