"""The gateway's clients of Kafka: what writes decisions, keeps keys, reads both again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from workers.errors import ClientHalt
from workers.gateway.clients import (
    LOOKUP_BYTES,
    LOOKUP_WAIT_MS,
    decisions_producer,
    topics_reader,
)
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.idempotency import Keys
from workers.gateway.notes import Say
from workers.gateway.replay import Replay
from workers.gateway.spill import Spill
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.stream.failures import translated
from workers.stream.journal import ClientLog, Journal
from workers.topology import Broker
from workers.topology.gateway import Gateway, OnLogFailure

ASK = 10.0


@dataclass(frozen=True, slots=True)
class Base:
    """What the gateway's clients are made of."""

    broker: Broker
    gateway: Gateway
    name: str
    clock: Clock
    say: Say
    journal: Journal

    def producer(self, what: str) -> Config:
        return decisions_producer(self.broker, self.gateway, f"{self.name}.{what}", self._log())

    def reader(self, what: str) -> Config:
        return topics_reader(self.broker, f"{self.name}.{what}", self._log())

    def lookup_reader(self) -> Config:
        name = f"{self.name}.lookup"
        return topics_reader(self.broker, name, self._log(), LOOKUP_WAIT_MS, LOOKUP_BYTES)

    def _log(self) -> ClientLog:
        return ClientLog(self.journal, self.clock)


def log_of(base: Base, ids_of: Mapping[str, Callable[[Any], list[str]]]) -> DecisionLog:
    """What writes decisions, and what is written where that cannot be."""
    gateway = base.gateway
    config, reader = base.producer("log"), base.reader("replay")
    spill = None
    if gateway.log.on_failure is OnLogFailure.SPILL and gateway.log.spill is not None:
        spill = Spill(gateway.log.spill, gateway.log.spill_bytes)

    def probe() -> None:
        with translated("asking for the decisions topic"):
            Producer(config).list_topics(next(iter(ids_of)), timeout=gateway.log.timeout)

    return DecisionLog(
        config=config,
        timeout=gateway.log.timeout,
        retry=gateway.log.retry,
        probe=probe,
        spill=spill,
        replay=Replay(config, reader, ids_of),
        offsets=_ends(reader, ids_of),
        clock=base.clock,
        loop=asyncio.get_running_loop(),
        say=base.say,
    )


def _ends(config: dict[str, Any], topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Where the topics end before anything is written."""
    consumer, found = Consumer(config), dict[tuple[str, int], int]()
    try:
        with translated("asking how long the decisions topic is"):
            for topic in topics:
                for number in consumer.list_topics(topic, timeout=ASK).topics[topic].partitions:
                    place = TopicPartition(topic, number)
                    found[topic, number] = consumer.get_watermark_offsets(place, timeout=ASK)[1]
    finally:
        consumer.close()
    return found


def keys_of(base: Base) -> Keys | None:
    """What knows which requests were answered, where requests have keys.

    Raises:
        ClientHalt: the client refuses its properties.
    """
    settings = base.gateway.idempotency
    if settings is None:
        return None
    loop = asyncio.get_running_loop()
    try:
        return Keys(
            settings, base.producer("keys"), base.reader("keys"), base.clock, loop, base.say
        )
    except KafkaException as error:
        raise ClientHalt(f"gateway.idempotency: {error.args[0].str()}") from error
