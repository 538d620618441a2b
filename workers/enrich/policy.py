"""What a worker's topology says of its path."""

from __future__ import annotations

from dataclasses import dataclass

from workers.topology import OnModelFailure, Tombstones, Unframed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a worker's topology says of its path."""

    worker: str
    input_subject: str
    output_subject: str
    decisions_subject: str | None = None
    tombstones: Tombstones = Tombstones.FORWARD
    unframed: Unframed = Unframed.DEAD_LETTER
    on_model_failure: OnModelFailure = OnModelFailure.FALLBACK
    max_payload: int = 1024 * 1024
