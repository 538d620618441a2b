"""Where a worker's time goes: each stage alone, on batches of 4,000 real events."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.rig import PARTITIONS, ROOT
from workers.contracts.codec import BlockEncoder, Decoder
from workers.contracts.derive import enrichment_block
from workers.contracts.directory import read_directory
from workers.models.booster import Booster
from workers.models.bundle import read_bundle
from workers.stream.messages import to_batch
from workers.testing import RealKafka
from workers.topology import load
from workers.wiring import build_enricher, pick

BATCH = 4_000
ROUNDS = 40


def stages(kafka: RealKafka, source: str) -> dict[str, float]:
    """Microseconds an event by stage; the median of forty batches."""
    topology = load(ROOT / "topology.yaml", {})
    enricher = build_enricher(topology, pick(topology, None))
    messages = _messages(kafka, source)
    batch = to_batch(source, 0, messages)
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    decoder = Decoder(schema)
    bundle = read_bundle(topology.models.directory, "flight-delay", "1")
    booster = Booster(bundle.booster, threads=1)
    datums = [value[5:] for value in batch.values if value is not None]
    table = decoder.decode(datums).table
    matrix = enricher.model.features.compute(table).matrix
    return {
        "records to columns": _time(lambda: to_batch(source, 0, messages)),
        "decode, guard, validate": _time(lambda: decoder.decode(datums)),
        "features": _time(lambda: enricher.model.features.compute(table)),
        "predict": _time(lambda: booster.predict(matrix)),
        "encode the block": _time(_encode(datums)),
        "the whole path (enrich)": _time(lambda: enricher.enrich(batch)),
        "consume": _consume(kafka, source),
        "produce": _produce(kafka, batch.values, batch.keys),
    }


def _time(stage: Callable[[], Any]) -> float:
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        stage()
        spent.append(time.perf_counter() - began)
    return float(np.median(spent)) * 1e6 / BATCH


def _encode(datums: list[bytes]) -> Callable[[], Any]:
    encoder, count = BlockEncoder(enrichment_block()), len(datums)
    columns: dict[str, Any] = {
        "decision_id": [f"w:flights:0:{number}" for number in range(count)],
        "model": ["flight-delay"] * count,
        "model_version": ["1"] * count,
        "score": np.linspace(0, 1, count),
        "decision": ["on_time"] * count,
        "fallback": np.zeros(count, dtype=bool),
        "fallback_reason": None,
        "reasons": [[]] * count,
        "scored_at": np.zeros(count, dtype=np.int64),
    }
    return lambda: encoder.encode(columns, count)


def _reader(kafka: RealKafka, source: str) -> Consumer:
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": uuid.uuid4().hex}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(source, p, 0) for p in range(PARTITIONS)])
    return consumer


def _messages(kafka: RealKafka, source: str) -> list[Any]:
    consumer = _reader(kafka, source)
    found = consumer.consume(BATCH, 30)
    consumer.close()
    return found


def _consume(kafka: RealKafka, source: str) -> float:
    """The thread's own time, so that waiting for the broker is not in it."""
    consumer, spent, count = _reader(kafka, source), 0.0, 0
    while count < BATCH * ROUNDS:
        began = time.thread_time()
        count += len(consumer.consume(BATCH, 1.0))
        spent += time.thread_time() - began
    consumer.close()
    return spent * 1e6 / count


def _produce(kafka: RealKafka, values: list[bytes | None], keys: list[bytes | None]) -> float:
    topic = f"produce.{uuid.uuid4().hex}"
    kafka.create_topic(topic, PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "enable.idempotence": True,
            "delivery.report.only.error": True,
        }
    )
    produce: Any = producer.produce
    spent = 0.0
    for _ in range(ROUNDS):
        began = time.thread_time()
        for value, key in zip(values, keys, strict=True):
            produce(topic, value, key, -1, timestamp=1, headers=None)
        spent += time.thread_time() - began
        producer.flush()
    kafka.delete_topic(topic)
    return spent * 1e6 / (BATCH * ROUNDS)
