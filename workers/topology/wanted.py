"""What the cluster should have: settings of the topics that a worker writes to."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from workers.topology.security import Part

_RETENTION = re.compile(r"^(\d+)(m|h|d|w)$")
_MILLISECONDS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def retention_settings(text: str) -> dict[str, str]:
    """Kafka's topic settings for a retention such as `12h`, `7d`, `forever` or `compact`.

    Raises:
        ValueError: it is none of these.
    """
    if text == "compact":
        return {"cleanup.policy": "compact"}
    if text == "forever":
        return {"cleanup.policy": "delete", "retention.ms": "-1"}
    if match := _RETENTION.match(text):
        kept = int(match[1]) * _MILLISECONDS[match[2]]
        return {"cleanup.policy": "delete", "retention.ms": str(kept)}
    raise ValueError("not a retention; write a number and a unit as in 12h or 7d, forever, compact")


def _checked(text: str) -> str:
    retention_settings(text)
    return text


Retention = Annotated[str, AfterValidator(_checked)]


class TopicSettings(Part):
    """What `workers plan` holds a topic to, and `workers apply` makes it with."""

    partitions: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="How many; default: as many as the input has."
    )
    replication_factor: Annotated[int, Field(ge=1, le=32767)] | None = Field(
        default=None, description="Copies of a partition; default: as the input."
    )
    min_insync_replicas: Annotated[int, Field(ge=1, le=32767)] | None = Field(
        default=None,
        description="Copies that must acknowledge; default: at least 2 where there are 3 copies or "
        "more, else what the cluster says.",
    )
    retention: Retention | None = Field(
        default=None,
        description="As in 12h or 7d, `forever`, or `compact`; default: the retention in the "
        "topic's subject.yaml, else what the cluster says.",
    )
