"""What became of the flights, and what the loop makes of it: collected, judged, trained, gated."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import polars as pl

from examples.flights.events import shipped_month
from examples.flights.outcomes import encode_outcomes
from workers.feedback.collect import Collector
from workers.feedback.dataset import Window
from workers.feedback.gate import Verdict, gate
from workers.feedback.learning.retrain import retrain
from workers.feedback.opening import open_loop, sources
from workers.feedback.report import report
from workers.stream.clock import SystemClock
from workers.testing import Sent, produce
from workers.topology import Topology

AIR = datetime.timedelta(hours=3)
"""The shipped month has no minutes in the air: every flight is taken to land after so long."""
WEEK = datetime.timedelta(days=7)
MONTH = datetime.timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Learned:
    """Of the version that served: its decisions, how many have an outcome, log loss; and the next
    version, which is made of them.
    """

    decisions: int
    known: int
    log_loss: float
    version: str


def departures(count: int) -> pl.DataFrame:
    """The first flights of the month, replayed: the last of them has just landed.

    Whole weeks later, so that hours and weekdays are what they were; the events are left alone.
    """
    departed = pl.col("scheduled_departure") + pl.duration(minutes=pl.col("departure_delay"))
    flights = shipped_month().head(count).with_columns(departed.alias("departed_at"))
    (last,) = flights["departed_at"].sort().to_list()[-1:]
    later = (datetime.datetime.now(datetime.UTC) - AIR - last) // WEEK * WEEK
    return flights.with_columns(
        (pl.col("departed_at") + later).alias("departed_at"),
        (pl.col("departed_at") + later + AIR).alias("landed_at"),
    )


def landed(topology: Topology, flights: pl.DataFrame, asked: list[tuple[str, str]]) -> None:
    """Tell every outcome: by key and time, and to whom asked the gateway by the decision's id.

    `asked` has flights and the ids of the decisions that were asked for.
    """
    text = {"flight_id": pl.String, "decision_id": pl.String}
    ids = pl.DataFrame(asked, schema=text, orient="row")
    told = pl.concat(
        [
            flights.with_columns(
                pl.lit(None, pl.String).alias("decision_id"), pl.col("tailnum").fill_null("unknown")
            ),
            # Who asked says so when it knows, and need not know how the stream names the event.
            flights.join(ids, on="flight_id", maintain_order="left").with_columns(
                pl.lit(None, pl.String).alias("tailnum"),
                pl.lit(None, flights["departed_at"].dtype).alias("departed_at"),
                pl.lit(datetime.datetime.now(datetime.UTC))
                .dt.cast_time_unit("ms")
                .alias("landed_at"),
            ),
        ]
    )
    values = encode_outcomes(told)
    keys = told["tailnum"].fill_null("unknown").to_list()
    produce(
        topology.broker.bootstrap_servers,
        topology.feedback["flights"].outcomes.topic,
        [Sent(value, key.encode()) for value, key in zip(values, keys, strict=True)],
    )


def learn(topology: Topology) -> Learned:
    """Collect, judge what served, train the next version.

    Raises:
        Halt: a step cannot be done.
    """
    loop, now = open_loop(topology, None), _collected(topology)
    document = report(loop, Window(now - MONTH, now, now))
    made = retrain(loop, now)
    (served,) = document["versions"].values()
    return Learned(
        decisions=served["decisions"],
        known=served["labelled"],
        log_loss=served["log_loss"]["value"],
        version=made.version,
    )


def judge(topology: Topology, version: str) -> Verdict:
    """Collect what came since, and hold the version to it.

    Raises:
        Halt: a step cannot be done.
    """
    return gate(open_loop(topology, None), version, _collected(topology))


def _collected(topology: Topology) -> datetime.datetime:
    loop, clock = open_loop(topology, None), SystemClock()
    with sources(loop, clock) as opened:
        Collector(loop.feedback, loop.log, clock).collect(opened)
    return datetime.datetime.now(datetime.UTC)
