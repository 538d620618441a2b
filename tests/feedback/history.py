"""A lake filled by the real path: real flights, the real model, their real delays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.feedback.lakes import fill
from tests.feedback.test_report import checkout
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.enrich.policy import Policy
from workers.feedback.opening import Loop, open_loop
from workers.feedback.records import RecordReader, RowsState, joined, spread_features
from workers.models.bundle import read_bundle
from workers.models.model import Model
from workers.models.store import Change as Promoted
from workers.topology import load

POLICY = Policy(
    worker="flight-delays",
    input_subject="flights-value",
    output_subject="flights.enriched-value",
    decisions_subject="flights.decisions-value",
    aliases={"enrichment": "champion"},
)
FLIGHT = pl.duration(hours=6)


Change = Callable[[pl.DataFrame], pl.DataFrame]


def as_it_is(rows: pl.DataFrame) -> pl.DataFrame:
    """Nothing is changed."""
    return rows


def october(
    tmp_path: Path,
    contracts: Catalogue,
    count: int = 12_000,
    change: Change = as_it_is,
    became: Change = as_it_is,
) -> Path:
    """A topology whose lake has October's first departures and whose champion is version 1.

    `change` is what is done to decisions, and `became` to outcomes, before they are there.
    """
    file = checkout(tmp_path)
    events = shipped_month().head(count)
    model = Model(read_bundle(tmp_path / "models", "flight-delay", "1"))
    loop = open_loop(load(file), None)
    loop.store.promote("flight-delay", "1", _promoted())
    decisions = decided(events, Enricher(POLICY, contracts, model), contracts)
    fill(loop.log, change(decisions), became(arrivals(events)))
    return file


def decided(events: pl.DataFrame, enricher: Enricher, contracts: Catalogue) -> pl.DataFrame:
    """Decisions as they are collected."""
    datums = encode(events, contracts.versions("flights-value")[1].schema.text)
    at = (departed(events)).dt.epoch("ms").to_list()
    state = RowsState()
    reader = RecordReader(contracts, "flights.decisions-value")
    for start in range(0, len(datums), 200):
        part = slice(start, start + 200)
        rows = range(len(datums[part]))
        batch = Batch(
            topic="flights",
            now=at[part][-1],
            keys=[f"{tail}".encode() for tail in events["tailnum"].fill_null("unknown")[part]],
            values=[frame(1) + datum for datum in datums[part]],
            headers=[None] * len(rows),
            partitions=[0] * len(rows),
            offsets=[start + row for row in rows],
            timestamps=[(1, moment) for moment in at[part]],
        )
        outcomes = enricher.enrich(batch)
        taken = sorted(outcomes.decisions)
        chosen = batch.select(taken)
        values: list[bytes | None] = [outcomes.decisions[row][0] for row in taken]
        written = Batch(
            "d",
            0,
            chosen.keys,
            values,
            chosen.headers,
            chosen.partitions,
            chosen.offsets,
            chosen.timestamps,
        )
        reader.read(written, state)
    found = joined(state)
    assert found is not None
    return spread_features(found)


def departed(events: pl.DataFrame) -> pl.Series:
    """When each departure is published."""
    moment = pl.col("scheduled_departure") + pl.duration(minutes=pl.col("departure_delay"))
    return events.select(moment.alias("at"))["at"]


def arrivals(events: pl.DataFrame) -> pl.DataFrame:
    """Outcomes by key and time, six hours later."""
    at = departed(events)
    return events.select(
        pl.lit(None, pl.String).alias("decision_id"),
        pl.col("tailnum").fill_null("unknown"),
        at.alias("departed_at"),
        "arrival_delay",
        (at + pl.select(FLIGHT).item()).alias("landed_at"),
        pl.lit(0).alias("record_partition"),
        pl.int_range(pl.len()).alias("record_offset"),
    )


def _promoted() -> Promoted:
    import datetime

    return Promoted(when=datetime.datetime.now(datetime.UTC), who="test", why="test", did="promote")


def opened(file: Path) -> Loop:
    """The loop."""
    return open_loop(load(file), None)
