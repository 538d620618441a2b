"""The same job on FastStream; `batch` takes a list of records a call, `single` one.

`python fast_stream.py SERVERS INPUT OUTPUT GROUP single|batch` where faststream[confluent] is.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from faststream import AckPolicy, FastStream  # type: ignore[import-not-found]
from faststream.confluent import KafkaBroker, KafkaMessage  # type: ignore[import-not-found]

from benchmarks.subjects.scoring import Scorer

scorer = Scorer()


async def raw(message: Any) -> Any:
    """No decoding: the bytes as they are."""
    if isinstance(message.raw_message, tuple):
        return [part.value() for part in message.raw_message]
    return message.body


def main(servers: str, source: str, target: str, group: str, mode: str) -> None:
    """Enrich for ever."""
    broker = KafkaBroker(servers, logger=None)
    settings: dict[str, Any] = {
        "group_id": group,
        "auto_offset_reset": "earliest",
        "ack_policy": AckPolicy.ACK,
        "decoder": raw,
    }
    if mode == "batch":

        @broker.subscriber(source, batch=True, max_records=1000, **settings)  # type: ignore[untyped-decorator]
        async def many(values: list[Any], message: KafkaMessage) -> None:
            parts = message.raw_message
            enriched = [
                scorer.enrich(part.value(), source, part.partition(), part.offset())
                for part in parts
            ]
            await broker.publish_batch(*enriched, topic=target)

    else:

        @broker.subscriber(source, **settings)  # type: ignore[untyped-decorator]
        async def one(value: Any, message: KafkaMessage) -> None:
            part = message.raw_message
            enriched = scorer.enrich(part.value(), source, part.partition(), part.offset())
            await broker.publish(enriched, topic=target, key=part.key())

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
