"""Names of headers that no Python producer can write, on the wire and through the real worker."""

from __future__ import annotations

import ctypes
from typing import Any

from confluent_kafka import cimpl

from tests.traffic import good, ids
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.testing import Driver, EmbeddedBroker, Reader, isolated, produce
from workers.topology import Topology
from workers.wiring import pick

END, TOPIC, PARTITION, VALUE, HEADERS = 0, 1, 3, 4, 10
"""Of `rd_kafka_vtype_t`: what `rd_kafka_producev` is told comes next."""
COPY = 2


def send(servers: str, topic: str, value: bytes, name: bytes) -> None:
    """A record with a header of that name, into partition 0, by librdkafka's own interface."""
    lib = ctypes.CDLL(cimpl.__file__)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for maker in (lib.rd_kafka_conf_new, lib.rd_kafka_new, lib.rd_kafka_headers_new):
        maker.restype = pointer
    error = ctypes.create_string_buffer(512)
    settings = pointer(lib.rd_kafka_conf_new())
    for key, text in ((b"bootstrap.servers", servers.encode()), (b"log_level", b"0")):
        assert lib.rd_kafka_conf_set(settings, key, text, error, size(512)) == 0
    producer = pointer(lib.rd_kafka_new(0, settings, error, size(512)))
    headers = pointer(lib.rd_kafka_headers_new(size(1)))
    added = lib.rd_kafka_header_add(
        headers, name, ctypes.c_ssize_t(len(name)), b"v", ctypes.c_ssize_t(1)
    )
    assert added == 0
    said: list[Any] = [number(TOPIC), ctypes.c_char_p(topic.encode())]
    said += [number(PARTITION), ctypes.c_int32(0)]
    said += [number(VALUE), ctypes.c_char_p(value), size(len(value))]
    said += [number(7), number(COPY), number(HEADERS), headers, number(END)]
    assert lib.rd_kafka_producev(producer, *said) == 0
    assert lib.rd_kafka_flush(producer, number(10_000)) == 0
    lib.rd_kafka_destroy(producer)


def test_names_of_headers_that_are_no_text_harm_no_neighbour(
    embedded: EmbeddedBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """One that is not UTF-8 makes a dead letter, one with a zero byte is cut at it."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=1)
    servers, topic = embedded.bootstrap_servers, worker.input.topic
    # Enough before it for the interpreter to have made its own way of asking.
    produce(servers, topic, good(flights[100:1100]))
    produce(servers, topic, good(flights[:3]))
    send(servers, topic, frame(1) + flights[3], b"\xff\xfe")
    produce(servers, topic, good(flights[4:6]))
    send(servers, topic, frame(1) + flights[6], b"cut\x00here")
    produce(servers, topic, good(flights[7:9]))

    with (
        Driver(top, worker, enricher) as driver,
        Reader(servers, worker.output.topic) as enriched,
        Reader(servers, worker.dead_letter.topic) as dead,
    ):
        driver.until(lambda: driver.journal.counts.enriched >= 1008)
        enriched.until(lambda seen: len(seen) >= 1008)
        dead.until(lambda seen: len(seen) >= 1)
        enriched.read(0.3)

    (letter,) = dead.records
    assert letter.header("__workers.code") == "headers_unreadable"
    assert letter.value == frame(1) + flights[3]
    places = [int(name.rpartition(":")[2]) for name in ids(enriched.records, contracts)]
    assert sorted(places) == [n for n in range(1009) if n != 1003]
    assert [r.headers for r in enriched.records if r.header("cut")] == [[("cut", b"v")]]
