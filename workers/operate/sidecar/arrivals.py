"""How long after their timestamps records of a topic can be read. Joins no group, commits nothing.

They are read in a thread of their own, as soon as the broker has them: what is timed must not wait
for questions that are asked meanwhile.
"""

from __future__ import annotations

import threading
import time
from array import array
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from workers.errors import ClientHalt
from workers.operate.sidecar.sight import Offsets
from workers.stream.clients import range_config
from workers.topology import Broker, Worker

AT_ONCE = 1000
WAIT = 0.1
"""Seconds that a poll waits for a record, at most."""
CREATE_TIME = 1


class Arrivals:
    """Reads what comes from given offsets on, while it is entered."""

    def __init__(self, broker: Broker, worker: Worker, at: Offsets) -> None:
        """Connect, and read nothing yet.

        Raises:
            ClientHalt: the client refuses its properties.
        """
        self.milliseconds = array("d")
        """Of every record that its producer stamped; whole only after the exit."""
        self._reader = _reader(broker, worker, at)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            first = self._reader.poll(WAIT)
            if first is not None:
                # `consume` alone would wait for its whole time unless so many came.
                self._timed([first, *self._reader.consume(AT_ONCE, 0)])

    def _timed(self, messages: list[Message]) -> None:
        now = time.time() * 1000
        for message in messages:
            kind, stamp = message.timestamp()
            if message.error() is None and kind == CREATE_TIME:
                self.milliseconds.append(now - stamp)


def _reader(broker: Broker, worker: Worker, at: Offsets) -> Consumer:
    properties = {
        **range_config(broker, worker),
        "client.id": f"{worker.name}.sidecar",
        "enable.partition.eof": False,
        "auto.offset.reset": "latest",
        "queued.max.messages.kbytes": 1024,
        # A full queue must not be a second's delay, as by default.
        "fetch.queue.backoff.ms": 10,
    }
    try:
        reader = Consumer(properties)
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    reader.assign([TopicPartition(worker.input.topic, n, offset) for n, offset in at.items()])
    return reader
