"""From the client's messages to the columns of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller

from confluent_kafka import Message

from workers.enrich.batch import Batch, HeaderList

_ASK = methodcaller("headers")


def to_batch(topic: str, now: int, messages: Sequence[Message]) -> Batch:
    """The batch of these messages, in their order. None of them carries an error."""
    headers, unreadable = _headers(messages)
    return Batch(
        topic=topic,
        now=now,
        keys=[_bytes(m.key()) for m in messages],
        values=[_bytes(m.value()) for m in messages],
        headers=headers,
        partitions=[m.partition() or 0 for m in messages],
        offsets=[m.offset() or 0 for m in messages],
        timestamps=[m.timestamp() for m in messages],
        unreadable=unreadable,
    )


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _headers(messages: Sequence[Message]) -> tuple[list[HeaderList], frozenset[int]]:
    """Headers of each, and the rows whose header names are not UTF-8.

    For such a name the client (2.16) returns a list with a hole in it and leaves an exception
    behind. Each is asked once, because whoever asks again gets that list, which ends the process;
    and by way of C, which looks at once: Python's own call, when it is warm, takes the list.
    """
    headers: list[HeaderList] = []
    unreadable = set[int]()
    asked = map(_ASK, messages)
    while True:
        try:
            headers.extend(asked)
        except SystemError:
            unreadable.add(len(headers))
            headers.append(None)
        else:
            return headers, frozenset(unreadable)
