"""What everyone writes first: one record, one prediction, one produce; at least once.

`python -m benchmarks.subjects.per_record SERVERS INPUT OUTPUT GROUP`
"""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import Consumer, Producer

from benchmarks.subjects.scoring import Scorer

COMMIT_EVERY = 1000


def main(servers: str, source: str, target: str, group: str) -> None:
    """Enrich for ever."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    scorer = Scorer()
    consumer.subscribe([source])
    count = 0
    produce: Any = producer.produce
    while True:
        message: Any = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        value = scorer.enrich(
            message.value(), message.topic(), message.partition(), message.offset()
        )
        produce(target, value, message.key(), timestamp=message.timestamp()[1])
        producer.poll(0)
        count += 1
        if count % COMMIT_EVERY == 0:
            producer.flush()
            consumer.commit(message, asynchronous=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
