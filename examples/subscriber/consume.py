"""A subscriber in twenty lines: decisions about flights, each once.

    python -m examples.subscriber.consume 127.0.0.1:9092 flights.enriched schemas

The third argument says where schemas are: this repository's directory, or a registry's URL.
"""

from __future__ import annotations

import functools
import json
import sys
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer
from ruamel.yaml import YAML

from examples.subscriber.flights_enriched import read, schema_id


@functools.cache
def schema_text(place: str, number: int) -> str:
    """The schema with this id, from a registry or from files."""
    if place.startswith(("http://", "https://")):
        with urllib.request.urlopen(f"{place}/schemas/ids/{number}", timeout=10) as answer:  # noqa: S310
            return str(json.load(answer)["schema"])
    subject = Path(place, "flights.enriched-value")
    versions = YAML(typ="safe").load(subject / "subject.yaml")["versions"]
    version = next(version for version, entry in versions.items() if entry["id"] == number)
    return (subject / f"v{version}.avsc").read_text()


def consume(brokers: str, topic: str, schemas: str) -> None:
    """Print decisions as they come, until interrupted."""
    settings = {"bootstrap.servers": brokers, "group.id": "subscriber-example"}
    # Without read_committed a reader sees records of transactions that were aborted.
    safe = {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings | safe)
    consumer.subscribe([topic])
    # Ids seen since the start; a service keeps them where its results are, for as long as it must.
    seen: set[str] = set()
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise SystemExit(str(message.error()))
            value = message.value()
            if value is None:
                continue  # a tombstone: the key is gone
            event = read(value, schema_text(schemas, schema_id(value)))
            if event.enrichment.decision_id not in seen:
                seen.add(event.enrichment.decision_id)
                print(
                    event.flight_id, event.enrichment.decision, event.enrichment.score, flush=True
                )
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    consume(*sys.argv[1:4])
