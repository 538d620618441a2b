"""What became of the flights, and what the loop makes of it: collected, judged, trained, gated."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import polars as pl

from examples.flights.events import shipped_month
from examples.flights.outcomes import encode_outcomes
from workers.feedback.collect import Collector
from workers.feedback.dataset import Window
from workers.feedback.gate import gate
from workers.feedback.learning.retrain import retrain
from workers.feedback.opening import open_loop, sources
from workers.feedback.report import report
from workers.stream.clock import SystemClock
from workers.testing import Sent, produce
from workers.topology import Topology

DAY = datetime.timedelta(days=1)
AIR = datetime.timedelta(hours=3)
"""The shipped month has no minutes in the air: every flight is taken to land after so long."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Of a run of the loop; `log_loss` of the version that served, `verdict` on the next one."""

    decisions: int
    known: int
    log_loss: float
    version: str
    verdict: str


def departures(count: int) -> pl.DataFrame:
    """The first flights of the month, with when each departed and landed."""
    departed = pl.col("scheduled_departure") + pl.duration(minutes=pl.col("departure_delay"))
    return (
        shipped_month()
        .head(count)
        .with_columns(departed.alias("departed_at"), (departed + AIR).alias("landed_at"))
    )


def landed(topology: Topology, flights: pl.DataFrame, asked: list[tuple[str, str]]) -> None:
    """Tell every outcome: by key and time, and to whom asked the gateway by the decision's id.

    `asked` has flights and the ids of the decisions that were asked for.
    """
    ids = pl.DataFrame(asked, schema=["flight_id", "decision_id"], orient="row")
    told = pl.concat(
        [
            flights.with_columns(pl.lit(None, pl.String).alias("decision_id")),
            flights.join(ids, on="flight_id", maintain_order="left"),
        ]
    )
    values = encode_outcomes(told)
    keys = told["tailnum"].fill_null("unknown").to_list()
    produce(
        topology.broker.bootstrap_servers,
        topology.feedback["flights"].outcomes.topic,
        [Sent(value, key.encode()) for value, key in zip(values, keys, strict=True)],
    )


def learn(topology: Topology, flights: pl.DataFrame) -> Learned:
    """Collect, judge what served, train the next version on all but the last days, hold it to them.

    Raises:
        Halt: a step cannot be done.
    """
    loop, clock = open_loop(topology, None), SystemClock()
    with sources(loop, clock) as opened:
        Collector(loop.feedback, loop.log, clock).collect(opened)
    now = datetime.datetime.now(datetime.UTC)
    first, last = flights["departed_at"].sort().to_list()[:: len(flights) - 1]
    document = report(loop, Window(first, now, now))
    made = retrain(loop, last - 2 * DAY)
    verdict = gate(loop, made.version, last + 2 * DAY)
    (served,) = document["versions"].values()
    return Learned(
        decisions=served["decisions"],
        known=served["labelled"],
        log_loss=served["log_loss"]["value"],
        version=made.version,
        verdict=str(verdict),
    )
