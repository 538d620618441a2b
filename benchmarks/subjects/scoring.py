"""The job as one writes it a record at a time: decode, 13 features, predict, append the block.

Used by the per-record loop and by the Python peers. It imports nothing of `workers`, because the
peers run in environments without it. Appending the block saves the peers from encoding the event
again; the worker does the same.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import fastavro
import lightgbm
import numpy as np

ROOT = Path(__file__).parents[2]
CARRIERS = {
    c: i
    for i, c in enumerate(
        [
            "9E",
            "AA",
            "AS",
            "B6",
            "DL",
            "EV",
            "F9",
            "FL",
            "HA",
            "MQ",
            "OO",
            "UA",
            "US",
            "VX",
            "WN",
            "YV",
        ]
    )
}
ORIGINS = {"EWR": 0, "JFK": 1, "LGA": 2}


class Scorer:
    """Enriches one framed event."""

    def __init__(self) -> None:
        schema = json.loads((ROOT / "schemas/flights-value/v1.avsc").read_text())
        block = json.loads((ROOT / "workers/contracts/enrichment-v1.avsc").read_text())
        self._schema = fastavro.parse_schema(schema)
        self._block = fastavro.parse_schema(block)
        model = ROOT / "models/flight-delay/1/model.txt"
        self._booster = lightgbm.Booster(model_str=model.read_text())

    def enrich(self, value: bytes, topic: str, partition: int, offset: int) -> bytes:
        """The enriched event, framed."""
        event: dict[str, Any] = fastavro.schemaless_reader(  # type: ignore[assignment]
            io.BytesIO(value[5:]), self._schema
        )
        row = np.array([self._features(event)], dtype=np.float64)
        score = float(self._booster.predict(row, num_threads=1)[0])  # type: ignore[index]
        out = io.BytesIO()
        out.write(b"\x00\x00\x00\x00\x65")
        out.write(value[5:])
        fastavro.schemaless_writer(
            out,
            self._block,
            {
                "decision_id": f"w:{topic}:{partition}:{offset}",
                "model": "flight-delay",
                "model_version": "1",
                "score": score,
                "decision": "late" if score >= 0.6 else "review" if score >= 0.3 else "on_time",
                "fallback": False,
                "fallback_reason": None,
                "reasons": [],
                "scored_at": time.time_ns() // 1_000_000,
            },
        )
        return out.getvalue()

    def _features(self, event: dict[str, Any]) -> list[float]:
        departure, nan = event["scheduled_departure"], float("nan")

        def number(name: str) -> float:
            found = event[name]
            return nan if found is None else found

        return [
            event["departure_delay"],
            event["distance"],
            departure.hour,
            departure.isoweekday(),
            CARRIERS.get(event["carrier"], nan),
            ORIGINS[event["origin"]],
            number("temperature"),
            number("humidity"),
            number("wind_speed"),
            number("precipitation"),
            number("pressure"),
            number("visibility"),
            event["seats"] or 0,
        ]
