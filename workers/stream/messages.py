"""From the client's messages to the columns of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Message

from workers.enrich.batch import Batch, HeaderList


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

    Each is asked once: the client raises SystemError for such names (2.16) and keeps what it had
    made of them, and whoever asks again gets a list with a hole in it that ends the process.
    """
    headers: list[HeaderList] = []
    unreadable = set[int]()
    left = iter(messages)
    while True:
        try:
            for message in left:
                headers.append(message.headers())  # type: ignore[arg-type]
        except SystemError:
            unreadable.add(len(headers))
            headers.append(None)
        else:
            return headers, frozenset(unreadable)
