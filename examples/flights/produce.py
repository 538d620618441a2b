"""Sends the month that the repository ships, again and again, as a producer of yours would.

    python -m examples.flights.produce 127.0.0.1:9092 flights schemas 500

The third argument is the directory of contracts, the fourth is events a second. Needs a topic.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from workers.contracts.directory import read_directory


def flights(schemas: Path) -> list[tuple[bytes, bytes]]:
    """Key and value of every departure, framed with the contract's id."""
    contract = read_directory(schemas).catalogue.versions("flights-value")[1]
    events = shipped_month()
    datums = encode(events, contract.schema.text)
    keys = events["tailnum"].fill_null("unknown").to_list()
    return [(key.encode(), contract.frame + datum) for key, datum in zip(keys, datums, strict=True)]


def produce(
    brokers: str, topic: str, records: Iterable[tuple[bytes, bytes]], a_second: float
) -> None:
    """Send at that pace, until there are no more or somebody interrupts."""
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    began = time.monotonic()
    for number, (key, value) in enumerate(records):
        producer.poll(0)
        early = began + number / a_second - time.monotonic()
        if early > 0.01:
            time.sleep(early)
        producer.produce(topic, value, key, on_delivery=_told)
    producer.flush()


def _told(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        raise SystemExit(f"not delivered: {error}")


if __name__ == "__main__":
    place, name, contracts, pace = sys.argv[1:5]
    with contextlib.suppress(KeyboardInterrupt):
        produce(place, name, itertools.cycle(flights(Path(contracts))), float(pace))
