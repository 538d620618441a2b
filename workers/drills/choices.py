"""What `workers drill` may be asked for; of no weight, because every command loads it."""

from __future__ import annotations

from enum import StrEnum


class DrillName(StrEnum):
    """What `workers drill` takes; `ALL` runs the others in this order."""

    POISON = "poison"
    REGISTRY_DOWN = "registry-down"
    BAD_MODEL = "bad-model"
    KILL = "kill"
    REBALANCE = "rebalance"
    BROKER_LOSS = "broker-loss"
    ALL = "all"


class BrokerChoice(StrEnum):
    """`AUTO`: the embedded broker, and for drills that it cannot show a real one."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    KAFKA = "kafka"
