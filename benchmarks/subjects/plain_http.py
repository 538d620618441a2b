"""What everyone writes first: FastAPI, one prediction a request. It logs nothing anywhere.

`python -m benchmarks.subjects.plain_http PORT async|threads`
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.subjects.scoring import CARRIERS, ORIGINS

ROOT = Path(__file__).parents[2]


class Flight(BaseModel):
    """An event."""

    flight_id: str
    carrier: str
    flight: int
    tailnum: str | None = None
    origin: str
    dest: str
    scheduled_departure: int
    departure_delay: int
    distance: int
    temperature: float | None = None
    humidity: float | None = None
    wind_speed: float | None = None
    precipitation: float | None = None
    pressure: float | None = None
    visibility: float | None = None
    seats: int | None = None


class Decision(BaseModel):
    """What is answered."""

    model: str
    model_version: str
    score: float
    decision: str


class Scorer:
    """The model, a row at a time."""

    def __init__(self) -> None:
        text = (ROOT / "models/flight-delay/1/model.txt").read_text()
        self._booster = lightgbm.Booster(model_str=text)

    def decide(self, event: Flight) -> Decision:
        """Thirteen features, one prediction."""
        departure = datetime.datetime.fromtimestamp(event.scheduled_departure / 1000, datetime.UTC)
        nan = float("nan")
        weather = [
            event.temperature, event.humidity, event.wind_speed, event.precipitation,
            event.pressure, event.visibility,
        ]  # fmt: skip
        row: list[Any] = [
            event.departure_delay,
            event.distance,
            departure.hour,
            departure.isoweekday(),
            CARRIERS.get(event.carrier, nan),
            ORIGINS.get(event.origin, nan),
            *(nan if value is None else value for value in weather),
            event.seats or 0,
        ]
        # One thread: with every core, as LightGBM takes them by default, it is slower.
        score = float(self._booster.predict(np.array([row]), num_threads=1)[0])  # type: ignore[index]
        decision = "late" if score >= 0.6 else "review" if score >= 0.3 else "on_time"
        return Decision(model="flight-delay", model_version="1", score=score, decision=decision)


def application(kind: str) -> FastAPI:
    """The application; `threads` as FastAPI runs plain functions, `async` in the loop."""
    app, scorer = FastAPI(), Scorer()
    if kind == "threads":

        @app.post("/v1/decisions/flight-delays")
        def in_thread(event: Flight) -> Decision:
            return scorer.decide(event)
    else:

        @app.post("/v1/decisions/flight-delays")
        async def in_loop(event: Flight) -> Decision:
            return scorer.decide(event)

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="critical",
        access_log=False,
    )
