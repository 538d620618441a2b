"""Trying again what may pass by itself: at once, and later by way of topics of its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from workers.topology.names import TopicName
from workers.topology.security import Part
from workers.topology.units import Duration
from workers.topology.wanted import TopicSettings


class RetryTopic(Part):
    """Where records wait before they are tried again."""

    topic: TopicName = Field(description="Topic of the records that wait.")
    delay: Annotated[Duration, Field(ge=0.001, le=7 * 86400)] = Field(
        description="How long each waits there."
    )
    settings: TopicSettings = Field(
        default_factory=TopicSettings,
        description="What the topic should have; its partitions need not be the input's.",
    )


class Retries(Part):
    """Only for codes of dead letters that may pass by themselves, see `workers errors`."""

    tries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="At once: so often, with the group kept, before it is a dead letter."
    )
    wait: Annotated[Duration, Field(ge=0.001, le=10)] = Field(
        default=0.1, description="Before the first of these; doubled each time, with jitter."
    )
    topics: list[RetryTopic] = Field(
        default_factory=list,
        description="Later: one after the other, before it is a dead letter. The order of a key is "
        "lost. Each is read by a worker of its own, `<name>.retry<N>`.",
    )


class Tier(Part):
    """What a worker is that reads a retry topic."""

    worker: str = Field(description="Whose records wait there.")
    topic: str = Field(description="Where they came from.")
    number: int = Field(description="Which of its retry topics, from 1 on.")
    delay: Duration = Field(description="How long a record waits at most.")


def with_tiers(name: str, worker: dict[str, Any]) -> dict[str, Any]:
    """A worker as it is written, and one for each of its retry topics, by name.

    What is not as it should be is left to the models to say.

    Raises:
        ValueError: `tier` is written.
    """
    if "tier" in worker:
        raise ValueError(f"workers.{name}.tier: it is set from `retries`; do not write it")
    found: dict[str, Any] = {name: worker}
    retries, source = worker.get("retries"), worker.get("input")
    if not isinstance(retries, dict) or not isinstance(source, dict):
        return found
    topics = retries.get("topics")
    if not isinstance(topics, list):
        return found
    if not all(isinstance(each, dict) and isinstance(each.get("topic"), str) for each in topics):
        return found
    topic = source.get("topic")
    subject = source.get("subject", f"{topic}-value")
    for number, each in enumerate(topics, start=1):
        own = f"{name}.retry{number}"
        # A share of the rows would be compared a second time.
        rest = {key: value for key, value in worker.items() if key != "shadow"}
        found[own] = {
            **rest,
            "name": own,
            "group": f"{worker['group']}.retry{number}",
            "transactional_id": f"{worker['transactional_id']}.retry{number}",
            "input": {"topic": each["topic"], "subject": subject},
            "retries": {**retries, "topics": topics[number:]},
            # A new tier begins with what waits for it.
            "first_start": "earliest",
            "tier": {
                "worker": name,
                "topic": topic,
                "number": number,
                "delay": each.get("delay"),
            },
        }
    return found
