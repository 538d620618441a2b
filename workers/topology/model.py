"""topology.yaml: what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workers.topology.beside import disturbances
from workers.topology.contracts import ContractsPlace
from workers.topology.feedback import Feedback
from workers.topology.gateway import Gateway
from workers.topology.health import Health
from workers.topology.models import ModelsPlace
from workers.topology.proxy import Proxy
from workers.topology.retries import with_tiers
from workers.topology.rules import check_free_properties
from workers.topology.security import Part, Properties, Security
from workers.topology.telemetry import Telemetry
from workers.topology.transforms import Transform, TransformName
from workers.topology.units import Duration
from workers.topology.worker import BLOCK, Worker

WorkerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Broker(Part):
    """The Kafka cluster."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = Field(
        description="host:port, separated by commas."
    )
    connect_timeout: Duration = Field(
        default=30.0, description="How long a start waits for the first broker."
    )
    security: Security = Field(default_factory=Security, description="Encryption and identity.")
    client: Properties = Field(
        default_factory=dict, description="More librdkafka properties of every client."
    )

    @model_validator(mode="after")
    def _properties_are_free(self) -> Self:
        check_free_properties("client", self.client, kip848=False)
        return self


class Topology(Part):
    """What runs: a cluster, contracts, models and the workers between them."""

    version: Literal[1] = Field(description="Version of this format.")
    broker: Broker = Field(description="The Kafka cluster.")
    contracts: ContractsPlace = Field(description="The contracts.")
    models: ModelsPlace = Field(description="The models.")
    state: Path | None = Field(
        default=None,
        description="Directory where processes note what they are doing, so that a record which "
        "ends them is found; by default below the user's state directory. It must outlive the "
        "process.",
    )
    telemetry: Telemetry = Field(
        default_factory=Telemetry,
        description="Where metrics and traces are sent; `/metrics` has them in any case.",
    )
    gateway: Gateway | None = Field(default=None, description="Decisions by HTTP.")
    health: Health | None = Field(
        default_factory=Health, description="Where processes say how they are; `null`: nowhere."
    )
    transforms: dict[TransformName, Transform] = Field(
        default_factory=dict, description="Repairs for `workers dlq replay --transform`, by name."
    )
    proxy: Proxy | None = Field(
        default=None, description="The transparent proxy, `workers sidecar proxy`."
    )
    workers: Annotated[dict[WorkerName, Worker], Field(min_length=1)] = Field(
        description="Workers by name."
    )

    feedback: dict[WorkerName, Feedback] = Field(
        default_factory=dict, description="Feedback loops by name."
    )

    @model_validator(mode="before")
    @classmethod
    def _loops(cls, data: Any) -> Any:
        """A loop's name is its key, and the outcomes' subject follows their topic."""
        if not isinstance(data, dict) or not isinstance(data.get("feedback"), dict):
            return data
        named = {}
        for key, loop in data["feedback"].items():
            named[key] = loop
            if isinstance(loop, dict):
                outcomes = loop.get("outcomes")
                if isinstance(outcomes, dict) and isinstance(outcomes.get("topic"), str):
                    outcomes = {"subject": f"{outcomes['topic']}-value", **outcomes}
                named[key] = {**loop, "outcomes": outcomes, "name": key}
        return {**data, "feedback": named}

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """A worker's name is its key; its group and transactional id follow it."""
        if not isinstance(data, dict) or not isinstance(data.get("workers"), dict):
            return data
        named: dict[str, Any] = {}
        for key, worker in data["workers"].items():
            if isinstance(worker, dict) and isinstance(key, str):
                whole = {"group": key, "transactional_id": key, **worker, "name": key}
                named |= with_tiers(key, whole)
            else:
                named[key] = worker
        return {**data, "workers": named}

    @model_validator(mode="after")
    def _workers_fit(self) -> Self:
        faults = [
            *_shared_ids(self.workers),
            *_shared_groups(self.workers),
            *_loops(self.workers),
            *_feedback(self.feedback, self.workers),
            *disturbances(self.workers),
        ]
        faults += _gateway_faults(self.gateway, self.workers)
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _shared_ids(workers: dict[str, Worker]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for name, worker in workers.items():
        other = seen.setdefault(worker.transactional_id, name)
        if other != name:
            faults.append(
                f"workers {other} and {name} share the transactional id "
                f"{worker.transactional_id!r}: they would fence each other; give each its own"
            )
    return faults


def _shared_groups(workers: dict[str, Worker]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for name, worker in workers.items():
        other = seen.setdefault(worker.group, name)
        if other != name:
            faults.append(
                f"workers {other} and {name} share the group {worker.group!r}: each would get a "
                "part of the other's partitions; give each its own"
            )
    return faults


def _loops(workers: dict[str, Worker]) -> list[str]:
    """Workers whose output comes back to their input."""
    reads: dict[str, list[str]] = {}
    for name, worker in workers.items():
        reads.setdefault(worker.input.topic, []).append(name)
    faults = []
    for name, worker in workers.items():
        reached: set[str] = set()
        waiting = list(reads.get(worker.output.topic, ()))
        while waiting:
            step = waiting.pop()
            if step not in reached:
                reached.add(step)
                waiting += reads.get(workers[step].output.topic, ())
        if name in reached:
            faults.append(f"the output of worker {name} comes back to its input: an endless loop")
    return faults


def _feedback(loops: dict[str, Feedback], workers: dict[str, Worker]) -> list[str]:
    faults = []
    for name, loop in loops.items():
        worker = workers.get(loop.worker)
        if worker is None:
            faults.append(f"feedback {name}: there is no worker {loop.worker}")
        elif worker.decisions is None:
            faults.append(f"feedback {name}: worker {loop.worker} has no `decisions`")
        elif loop.block != BLOCK and loop.block not in worker.blocks:
            faults.append(f"feedback {name}: worker {loop.worker} has no block {loop.block}")
    return faults


def _gateway_faults(gateway: Gateway | None, workers: dict[str, Worker]) -> list[str]:
    served = [name for name, worker in workers.items() if worker.gateway is not None]
    if gateway is None:
        return [f"workers.{name}.gateway: there is no `gateway`" for name in served]
    faults = [
        f"gateway.callers.{name}: there is no worker {asked} with a `gateway` part"
        for name, caller in gateway.callers.items()
        for asked in caller.workers
        if asked != "*" and asked not in served
    ]
    if gateway.idempotency is not None:
        longest = max((w.gateway.longest for w in workers.values() if w.gateway), default=0.0)
        if gateway.idempotency.claim <= longest + gateway.log.timeout:
            faults.append(
                "gateway.idempotency.claim: a request may take longer than this "
                "(workers.<name>.gateway.longest and gateway.log.timeout): another would begin it "
                "anew"
            )
        kept = gateway.idempotency.topic
        taken = {
            topic.topic
            for w in workers.values()
            for topic in (w.input, w.output, w.dead_letter, w.decisions, w.shadow)
            if topic is not None
        }
        if kept in taken:
            faults.append(f"gateway.idempotency.topic: {kept} is a worker's; give it its own")
    return faults


def json_schema() -> dict[str, Any]:
    """JSON Schema of topology.yaml, for editors."""
    schema = Topology.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "topology.yaml of enrichment-workers",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def relative_to(data: Any, folder: Path) -> Any:
    """The document with the paths that it names taken from `folder`."""
    if not isinstance(data, dict):
        return data
    moved = dict(data)
    loops = moved.get("feedback")
    if isinstance(loops, dict):
        moved["feedback"] = {name: _lake_from(loop, folder) for name, loop in loops.items()}
    for key, paths in (
        ("contracts", ("directory",)),
        ("models", ("directory", "cache")),
        ("gateway", ("socket", "audit")),
    ):
        place = moved.get(key)
        if isinstance(place, dict):
            named = {path: place[path] for path in paths if isinstance(place.get(path), str)}
            moved[key] = {**place, **{path: str(folder / text) for path, text in named.items()}}
    log = moved["gateway"].get("log") if isinstance(moved.get("gateway"), dict) else None
    if isinstance(log, dict) and isinstance(log.get("spill"), str):
        moved["gateway"]["log"] = {**log, "spill": str(folder / log["spill"])}
    return moved


def _lake_from(loop: Any, folder: Path) -> Any:
    lake = loop.get("lake") if isinstance(loop, dict) else None
    if not isinstance(lake, dict) or not isinstance(lake.get("directory"), str):
        return loop
    return {**loop, "lake": {**lake, "directory": str(folder / lake["directory"])}}
