"""Values for the chart (deploy/helm) that follow the topology and the cluster."""

from __future__ import annotations

import math
from typing import Any

from workers.topology import Broker, FirstStart, Worker


def values(broker: Broker, worker: Worker, partitions: int) -> dict[str, Any]:
    """What the chart must know of a worker whose input has so many partitions.

    KEDA's maximum is made of `partitions`: more processes would stand idle. Secrets, the image and
    the topology itself are the user's to add.
    """
    latest = worker.first_start is FirstStart.LATEST
    return {
        "worker": worker.name,
        "kind": "StatefulSet" if worker.static_membership else "Deployment",
        "replicas": min(worker.replicas or 1, partitions),
        "partitions": partitions,
        "drainSeconds": max(1, math.ceil(worker.drain_timeout)),
        "keda": {
            "bootstrapServers": broker.bootstrap_servers,
            "consumerGroup": worker.group,
            "topic": worker.input.topic,
            "offsetResetPolicy": "latest" if latest else "earliest",
        },
    }
