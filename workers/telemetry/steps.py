"""Steps of scoring a batch. The path says when one is over; who knows the time, takes it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """A part of scoring."""

    DECODE = "decode"
    FEATURES = "features"
    PREDICT = "predict"
    ENCODE = "encode"


Lap = Callable[[Step], None]
"""Told that a step is over."""


def untimed(_: Step) -> None:
    """Nobody takes the time."""
