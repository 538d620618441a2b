"""Carries out the steps of a plan that `apply` may. Creates and changes; never deletes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from workers.errors import ClientHalt, Retry
from workers.operate.look import TIMEOUT, Cluster
from workers.operate.steps import Doer, Kind, Step, TopicSpec
from workers.stream.failures import CODES, translate


def doable(steps: Iterable[Step], allowed: Iterable[Doer] = ()) -> list[Step]:
    """The steps that `apply` carries out, with those of its kinds that were allowed by name."""
    doers = {Doer.APPLY, *allowed}
    return [step for step in steps if step.doer in doers and step.topic is not None]


def apply(cluster: Cluster, steps: Iterable[Step]) -> Iterator[Step]:
    """Carry the steps out one by one; gives each when it is done.

    A topic that somebody else made in the meantime is left as it is: the next plan looks at it.

    Raises:
        ClientHalt: the cluster refuses a step; those before it are done, and none after it.
    """
    for step in steps:
        if step.topic is not None:
            _carry_out(cluster.admin, step, step.topic)
            yield step


def _carry_out(admin: AdminClient, step: Step, topic: TopicSpec) -> None:
    if step.kind is Kind.CREATE_TOPIC:
        new = NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            config=dict(topic.settings),
        )
        made = admin.create_topics([new], request_timeout=TIMEOUT)[topic.name]
        _wait(made, step, unless="TOPIC_ALREADY_EXISTS")
    elif step.kind is Kind.ADD_PARTITIONS:
        more = NewPartitions(topic.name, topic.partitions)
        _wait(admin.create_partitions([more], request_timeout=TIMEOUT)[topic.name], step)
    elif step.kind is Kind.CHANGE_SETTING:
        # Incremental: every other setting of the topic stays as it is.
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in topic.settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
        asked = admin.incremental_alter_configs([resource], request_timeout=TIMEOUT)
        _wait(asked[resource], step)


def _wait(future: Future[Any], step: Step, unless: str = "") -> None:
    doing = " ".join(filter(None, (step.kind.value, step.target, step.setting)))
    try:
        future.result(TIMEOUT)
    except KafkaException as error:
        if CODES.get(error.args[0].code()) == unless:
            return
        meant = translate(error.args[0], doing)
        if isinstance(meant, Retry):
            raise ClientHalt(f"{meant}; run apply again, it goes on where it stopped") from error
        raise meant from error
