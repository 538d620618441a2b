"""What is known of each topic, gathered from topology.yaml and the contracts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from workers.contracts.catalogue import Registered
from workers.contracts.directory import ContractDirectory
from workers.contracts.subject import Role, SubjectFile
from workers.errors import ContractError
from workers.governance.documents.shape import Shape, shape_of
from workers.topology import Topology, Worker, retention_settings

_DECISION_IDS = {
    Role.OUTPUT: "enrichment.decision_id",
    Role.DECISIONS: "decision_id",
    Role.COMPARISONS: "decision_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic's subject, and the workers around it.

    `name` names the documents: the topic, or the subject where a topic has several.
    """

    name: str
    about: SubjectFile
    versions: tuple[Registered, ...]
    writers: tuple[Worker, ...]
    readers: tuple[Worker, ...]
    example: Any

    @property
    def newest(self) -> Registered | None:
        """The newest version; None where the topic has no schema."""
        return self.versions[-1] if self.versions else None

    @property
    def shape(self) -> Shape | None:
        """The newest version's record."""
        return shape_of(self.newest.schema) if self.newest else None

    @property
    def retention_ms(self) -> int | None:
        """Retention in milliseconds; -1 is for ever, None is not said in these words."""
        try:
            settings = retention_settings(self.about.retention or "")
        except ValueError:
            return None
        return int(settings.get("retention.ms", -1))

    @property
    def decision_id(self) -> str:
        """The field to drop duplicates by, as a path; empty where records have none."""
        return _DECISION_IDS.get(self.about.role, "")


def topics(topology: Topology, directory: ContractDirectory) -> tuple[Topic, ...]:
    """Every topic of the contracts, inputs first, then by name.

    Raises:
        ContractError: a worker's topic has no subject.yaml, so nobody answers for it.
    """
    _all_described(topology, directory)
    shared = [about.topic for about in directory.files.values()]
    found = [
        _topic(topology, directory, about, several=shared.count(about.topic) > 1)
        for about in directory.files.values()
    ]
    order = list(Role)
    return tuple(sorted(found, key=lambda topic: (order.index(topic.about.role), topic.name)))


def _topic(
    topology: Topology, directory: ContractDirectory, about: SubjectFile, *, several: bool
) -> Topic:
    workers = topology.workers.values()
    versions = tuple(directory.catalogue.versions(about.subject or "").values())
    return Topic(
        name=about.subject if several and about.subject else about.topic,
        about=about,
        versions=versions,
        writers=tuple(worker for worker in workers if about.topic in _written(worker)),
        readers=tuple(worker for worker in workers if about.topic == worker.input.topic),
        example=_example(directory, versions[-1]) if versions else None,
    )


def _written(worker: Worker) -> list[str]:
    decisions = [worker.decisions.topic] if worker.decisions else []
    comparisons = [worker.shadow.topic] if worker.shadow else []
    later = [worker.retry_topic.topic] if worker.retry_topic else []
    if worker.dead_letter.ledger is not None:
        later.append(worker.dead_letter.ledger.topic)
    return [worker.output.topic, *decisions, *comparisons, *later, worker.dead_letter.topic]


def _all_described(topology: Topology, directory: ContractDirectory) -> None:
    for worker in topology.workers.values():
        for topic in (worker.input.topic, *_written(worker)):
            if directory.of_topic(topic) is None:
                raise ContractError(
                    f"{directory.root}: topic {topic} of worker {worker.name} has no subject.yaml: "
                    f"write {topic}/subject.yaml with its owner and what it holds"
                )


def _example(directory: ContractDirectory, version: Registered) -> Any:
    """The first golden event of a version, in Avro's JSON encoding; None where there is none.

    Raises:
        ContractError: it is not JSON.
    """
    folder = directory.folder(version.subject)
    files = sorted(folder.glob(f"examples/v{version.version}-*.json")) if folder else []
    if not files:
        return None
    try:
        return json.loads(files[0].read_text())
    except ValueError as error:
        raise ContractError(f"{files[0]}: not JSON: {error}") from error
