"""Brokers, drivers and readers for tests: ours, and those of people who use the workers.

`EmbeddedBroker` needs nothing and demonstrates; `real_kafka()` is Apache Kafka and proves.
"""

from workers.testing.driver import Driver, isolated
from workers.testing.embedded import EmbeddedBroker
from workers.testing.kafka import RealKafka, real_kafka
from workers.testing.records import OutRecord, Reader, Sender, Sent, produce

__all__ = [
    "Driver",
    "EmbeddedBroker",
    "OutRecord",
    "Reader",
    "RealKafka",
    "Sender",
    "Sent",
    "isolated",
    "produce",
    "real_kafka",
]
