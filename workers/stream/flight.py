"""A batch under way: scored, handed to the publisher, not known to be acknowledged yet."""

from __future__ import annotations

from dataclasses import dataclass

from workers.enrich.batch import Outcomes
from workers.stream.source import Polled
from workers.stream.times import Times
from workers.telemetry.steps import Step


@dataclass(frozen=True, slots=True)
class InFlight:
    """What is noted of it once it is over; with `shadow` the challenger sees it too."""

    polled: Polled
    outcomes: Outcomes
    times: Times
    steps: dict[Step, float]
    shadow: bool
