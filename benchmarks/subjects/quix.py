"""The same job on Quix Streams, as its documentation has it; at least once.

`python quix.py SERVERS INPUT OUTPUT GROUP` in an environment with quixstreams.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from quixstreams import Application, message_context  # type: ignore[import-not-found]

from benchmarks.subjects.scoring import Scorer


def main(servers: str, source: str, target: str, group: str) -> None:
    """Enrich for ever."""
    app = Application(
        broker_address=servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        loglevel="WARNING",
        auto_create_topics=False,
    )
    scorer = Scorer()

    def enrich(value: bytes) -> bytes:
        place: Any = message_context()
        return scorer.enrich(value, place.topic, place.partition, place.offset)

    events = app.dataframe(app.topic(source, value_deserializer="bytes"))
    events = events.apply(enrich)
    events.to_topic(app.topic(target, value_serializer="bytes"))
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
