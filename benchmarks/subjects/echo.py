"""Bytes in, bytes out, with the worker's guarantee and batch size: what Kafka alone costs.

`python -m benchmarks.subjects.echo SERVERS INPUT OUTPUT GROUP exactly_once|at_least_once`
"""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition


def main(servers: str, source: str, target: str, group: str, delivery: str) -> None:
    """Copy for ever."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "check.crcs": True,
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": 16 * 1024,
        }
    )
    config: dict[str, Any] = {
        "bootstrap.servers": servers,
        "enable.idempotence": True,
        "delivery.report.only.error": True,
        "partitioner": "murmur2_random",
    }
    exactly = delivery == "exactly_once"
    if exactly:
        config["transactional.id"] = group
    producer = Producer(config)
    if exactly:
        producer.init_transactions(30)
    consumer.subscribe([source])
    while True:
        messages = consumer.consume(4000, 0.05)
        metadata = consumer.consumer_group_metadata()
        if not messages:
            continue
        if exactly:
            producer.begin_transaction()
        ends = copy(producer, messages, target)
        places = [TopicPartition(source, p, o) for p, o in ends.items()]
        if exactly:
            producer.send_offsets_to_transaction(places, metadata, 30)
            producer.commit_transaction(30)
        else:
            producer.flush()
            consumer.commit(offsets=places, asynchronous=True)


def copy(producer: Producer, messages: list[Message], target: str) -> dict[int, int]:
    """Produce them all; the offsets after them."""
    ends: dict[int, int] = {}
    produce: Any = producer.produce
    for message in messages:
        while True:
            try:
                produce(target, message.value(), message.key(), timestamp=message.timestamp()[1])
                break
            except BufferError:
                producer.poll(0.05)
        ends[message.partition() or 0] = (message.offset() or 0) + 1
    return ends


if __name__ == "__main__":
    main(*sys.argv[1:])
