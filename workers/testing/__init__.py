"""Brokers, drivers and readers for tests: ours, and those of people who use the workers.

`EmbeddedBroker` needs nothing and demonstrates; `real_kafka()` is Apache Kafka and proves.
`build_features` is for training scripts and notebooks: features as a worker computes them.
"""

from workers.testing.driver import Driver, isolated
from workers.testing.embedded import EmbeddedBroker
from workers.testing.features import FeatureTable, build_features
from workers.testing.gateway import GatewayDriver
from workers.testing.kafka import RealKafka, real_kafka
from workers.testing.mlflow import RealMlflow
from workers.testing.records import OutRecord, Reader, Sender, Sent, produce
from workers.testing.registry import LocalRegistry, RealRegistry, real_registry

__all__ = [
    "Driver",
    "EmbeddedBroker",
    "FeatureTable",
    "GatewayDriver",
    "LocalRegistry",
    "OutRecord",
    "Reader",
    "RealKafka",
    "RealMlflow",
    "RealRegistry",
    "Sender",
    "Sent",
    "build_features",
    "isolated",
    "produce",
    "real_kafka",
    "real_registry",
]
