"""The chart's values: described, refused where they cannot work, and taken from a topology."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.conftest import CHART, Document, Refused, Tools, one, read_yaml, values_file
from workers.operate.helm import values
from workers.topology import Topology


@pytest.mark.parametrize(
    ("partitions", "each", "maximum"), [(24, 2, 12), (6, 1, 6), (7, 2, 3), (1, 4, 1)]
)
def test_keda_never_asks_for_more_than_the_partitions(
    tools: Tools, partitions: int, each: int, maximum: int
) -> None:
    """The maximum and the fallback follow them; the minimum never exceeds it."""
    given = _with(values_file("everything"), partitions=partitions)
    given["keda"]["partitionsPerReplica"] = each

    documents = tools.render(given)

    spec = one(documents, "ScaledObject")["spec"]
    assert spec["maxReplicaCount"] == spec["fallback"]["replicas"] == maximum
    assert spec["minReplicaCount"] == min(2, maximum)
    assert "replicas" not in one(documents, "Deployment")["spec"], "they are KEDA's"


def test_values_out_of_a_topology_are_ones_that_the_chart_takes(
    tools: Tools, topology: Topology
) -> None:
    """What `workers plan --output helm` prints: with an image and a ConfigMap it is a release."""
    worker = topology.workers["flight-delays"].model_copy(update={"replicas": 9})
    made = values(topology.broker, worker, 6)
    given = {
        **made,
        "image": {"repository": "registry.example/workers"},
        "topologyConfigMap": "flights",
        "keda": {**made["keda"], "enabled": True},
    }

    documents = tools.render(given)

    assert made["replicas"] == 6, "never more than partitions"
    assert one(documents, "ScaledObject")["spec"]["maxReplicaCount"] == 6
    assert tools.faults(documents) == []


def _keys(schema: Any, given: Any, place: str = "") -> list[str]:
    """Keys that the one has and the other has not; what has no closed list ends the search."""
    if not isinstance(given, dict) or not schema.get("properties"):
        return []
    known = {key for key in schema["properties"] if key != "global"}
    wrong = [f"{place}.{key}" for key in known ^ set(given)]
    for key in known & set(given):
        wrong += _keys(schema["properties"][key], given[key], f"{place}.{key}")
    return wrong


def test_every_value_is_described_and_every_described_one_is_there() -> None:
    """values.yaml, which explains them, and the schema, which refuses others."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert _keys(schema, read_yaml((CHART / "values.yaml").read_text())[0]) == []


def _with(given: Document, **changes: Any) -> Document:
    return {**deepcopy(given), **changes}


def _topology(given: Document, **changes: Any) -> Document:
    made = deepcopy(given)
    made["topology"]["workers"]["flight-delays"] |= changes
    return made


MINIMAL, STATIC, ALL = map(values_file, ("minimal", "statefulset", "everything"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (_with(MINIMAL, replica=2), "replica"),
        (_with(MINIMAL, image={"repository": ""}), "image"),
        (_with(MINIMAL, topology={}), "topology"),
        (_with(MINIMAL, worker="other"), 'no worker "other"'),
        (_with(MINIMAL, replicas=7, partitions=6), "stand idle"),
        (_with(MINIMAL, terminationGracePeriodSeconds=30), "kill it while it drains"),
        (_topology(_with(MINIMAL, terminationGracePeriodSeconds=60), drain_timeout="30s"), "kill"),
        (_with(MINIMAL, kind="StatefulSet"), "static_membership"),
        (_with(MINIMAL, state={"mountPath": "/s", "size": "1Gi", "persistent": True}), "claim"),
        (_topology(MINIMAL, static_membership=True), "StatefulSet"),
        (_with(STATIC, keda={"enabled": True}), "by hand"),
        (_with(ALL, partitions=None), "partitions"),
        (_with(MINIMAL, partitions=6, keda={"enabled": True, "minReplicas": 0}), "minReplicas"),
        (
            _with(
                _with(MINIMAL, partitions=6, keda={"enabled": True}),
                topology={**MINIMAL["topology"], "broker": {"bootstrap_servers": "${SERVERS}"}},
            ),
            "bootstrapServers",
        ),
    ],
)
def test_what_cannot_work_is_refused(tools: Tools, given: Document, why: str) -> None:
    """At `helm install`, with the value's name and the reason, and not at night."""
    with pytest.raises(Refused, match=re.escape(why)):
        tools.render(given)


def test_another_topology_is_a_rollout(tools: Tools) -> None:
    """The pods' template has the digest of it."""
    texts = [
        one(tools.render(given), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for given in (MINIMAL, _topology(MINIMAL, drain_timeout="10s"))
    ]

    assert texts[0]["checksum/topology"] != texts[1]["checksum/topology"]
