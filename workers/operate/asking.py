"""Questions to a cluster of which every one has to be answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from typing import TypeVar

from confluent_kafka import KafkaException

from workers.errors import BrokerUnreachable, Halt
from workers.stream.failures import CODES, translate

TIMEOUT = 30.0
"""Seconds for one question."""
TRIES = 20
Key = TypeVar("Key")
Answer = TypeVar("Answer")


def answers(ask: Callable[[], Mapping[Key, Future[Answer]]], doing: str) -> dict[Key, Answer]:
    """The answers by what was asked.

    Asks again while a group's coordinator is being found: on a new cluster the first question about
    a group makes it.

    Raises:
        BrokerUnreachable: there is no answer.
        Halt: the broker refuses it.
    """
    for left in reversed(range(TRIES)):
        try:
            return {key: future.result(TIMEOUT) for key, future in ask().items()}
        except KafkaException as error:
            name = CODES.get(error.args[0].code(), "")
            if "COORDINATOR" in name and left:
                threading.Event().wait(0.25)
                continue
            meant = translate(error.args[0], doing)
            raise meant if isinstance(meant, Halt) else BrokerUnreachable(str(meant)) from error
        except TooLong as error:
            raise BrokerUnreachable(f"while {doing}: no answer in {TIMEOUT:g} s") from error
    raise AssertionError("unreachable")
