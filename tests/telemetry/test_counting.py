"""What is counted of a batch, of publishes and of a snapshot: by hand-made ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.enrich.test_path import POLICY, batch
from tests.telemetry.reading import of, rendered
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.merging import merged
from workers.enrich.path import Enricher
from workers.errors import ClientHalt, Fenced, Halt, Retry
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.models.serving import Canary, Serving
from workers.models.shadow.counts import CountsState as ShadowCountsState
from workers.stream.clock import SystemClock
from workers.stream.counting import count_opinion, latencies, published
from workers.stream.failures import Moved, Refused
from workers.stream.gauges import of_counts, of_process, of_snapshot
from workers.stream.journal import CountsState
from workers.stream.outcome import Counted, Passed
from workers.stream.outgoing import held_to_size
from workers.stream.publish import nowhere
from workers.stream.snapshot import Board, ModelView, PartitionView, Pause, PauseKind, Snapshot
from workers.stream.work import Work
from workers.telemetry.registry import Registry
from workers.topology import Delivery, Topology
from workers.wiring import pick


@pytest.fixture
def enricher(contracts: Catalogue, bundle: Bundle) -> Enricher:
    """The demo's path, for one test."""
    return Enricher(POLICY, contracts, Model(bundle))


def of_flights(flights: list[bytes], count: int = 100) -> Batch:
    """A batch of real events, each with a key of its own."""
    found = batch([frame(1) + datum for datum in flights[:count]])
    return replace(found, keys=[b"%d" % row for row in range(count)])


def counted(outcomes: Outcomes) -> Any:
    """Samples of a batch's opinions."""
    registry = Registry()
    for opinion in outcomes.opinions:
        count_opinion(registry, opinion, published(opinion, outcomes))
    return rendered(registry)


def test_a_bypass_is_a_fallback_of_all(enricher: Enricher, flights: list[bytes]) -> None:
    """With the bundle's decision, and no score."""
    enricher.serve([replace(enricher.servings[0], bypass="a drill")])

    series = counted(enricher.enrich(of_flights(flights)))

    assert of(series, "workers_fallbacks_total", cause="bypassed") == 100
    assert of(series, "workers_decisions_total") == 100
    assert of(series, "workers_score_count") == 0


def test_a_canary_has_its_part(enricher: Enricher, bundle: Bundle, flights: list[bytes]) -> None:
    """Arms add up to what was decided; the champion's questions are the champion's alone."""
    enricher.serve([Serving(enricher.model, None, Canary(Model(bundle), 0.3))])

    outcomes = enricher.enrich(of_flights(flights))
    series = counted(outcomes)

    taken = of(series, "workers_canary_decisions_total", arm="challenger")
    assert 0 < taken < 100
    assert of(series, "workers_canary_decisions_total") == 100
    (opinion,) = outcomes.opinions
    assert opinion.asked is not None
    assert len(opinion.asked.scores) == 100 - taken
    assert opinion.without is None


def test_what_is_too_large_to_be_published_is_no_decision(
    enricher: Enricher, flights: list[bytes]
) -> None:
    """It is a dead letter, and counted as one alone."""
    outcomes = enricher.enrich(of_flights(flights))
    sizes = {row: len(block) + len(str(row)) for row, (block,) in outcomes.decisions.items()}
    assert all(size > len(outcomes.enriched[row] or b"") + 2 for row, size in sizes.items())
    limit = max(sizes.values()) - 1

    held = held_to_size(outcomes, limit)
    series = counted(held)

    assert 0 < len(held.rejected) < 100
    over = {row for row, size in sizes.items() if size > limit}
    assert held.rejected.keys() == over
    assert "decision record" in str(held.rejected[min(over)].reject)
    assert of(series, "workers_decisions_total") == len(held.enriched)
    assert of(series, "workers_score_count") == len(held.enriched)


def test_rows_that_are_tried_again_are_counted_where_they_end(
    enricher: Enricher, flights: list[bytes]
) -> None:
    """Once each, whichever try it was."""
    whole = of_flights(flights)
    broken = replace(whole, values=[b"?", *whole.values[1:]])

    outcomes = merged(
        replace(enricher.enrich(broken), batch=whole), enricher.enrich(whole.select([0])), [0]
    )

    assert sorted(row for o in outcomes.opinions for row in o.rows) == list(range(100))
    assert of(counted(outcomes), "workers_decisions_total") == 100


def test_latencies_are_of_records_that_have_a_time() -> None:
    """One from the future has none yet."""
    found = batch([b"x"] * 4)
    timed = replace(found, timestamps=[(1, 1_000), (0, -1), (2, 9_000), (1, 4_000)])

    assert latencies([(timed.timestamps, 5_000)]).tolist() == [4.0, 0.0, 1.0]
    several = [(timed.timestamps, 5_000), ([], 7), ([(1, 2_000)], 2_500)]
    assert latencies(several).tolist() == [4.0, 0.0, 1.0, 0.5]


class Scripted:
    """A publisher that ends as it is told, where it is told."""

    queued = 7

    def __init__(self, passed: Passed, place: str, error: Exception | None) -> None:
        self._passed, self._place, self._error = passed, place, error

    def renew(self) -> None:
        """Nothing."""

    def publish(self, _: Work) -> None:
        """End so."""
        for place in ("begun", "half", "offsets", "committing", "committed"):
            self._passed(place)
            if place == self._place and self._error is not None:
                raise self._error


@pytest.mark.parametrize(
    ("place", "error", "result", "cause"),
    [
        ("committed", None, "committed", ""),
        ("half", Retry("x"), "failed", "unwell"),
        ("committing", Retry("x"), "unclear", "unwell"),
        ("committing", Moved("x"), "failed", "moved"),
        ("half", Refused("x"), "failed", "record_refused"),
        ("committing", Fenced("x"), "fenced", "halt"),
        ("begun", ClientHalt("x"), "failed", "halt"),
    ],
)
def test_a_publish_is_counted_by_how_it_ends(
    place: str, error: Exception | None, result: str, cause: str, topology: Topology
) -> None:
    """What was asked to be committed and has no answer is unclear; the error goes on."""
    registry, passed, worker = Registry(), Passed(nowhere), pick(topology, None)
    worker = worker.model_copy(update={"delivery": Delivery.EXACTLY_ONCE})
    publisher = Counted(Scripted(passed, place, error), passed, worker, registry, SystemClock())
    registry.watch(publisher.samples)

    if error is None:
        publisher.publish(Work([], 0, [], None))
    else:
        with pytest.raises((Halt, Retry)) as raised:
            publisher.publish(Work([], 0, [], None))
        assert raised.value is error

    series = rendered(registry)
    assert of(series, "workers_transactions_total") == 1
    assert of(series, "workers_transactions_total", result=result) == 1
    calls = "messaging_client_operation_duration_seconds_count"
    assert of(series, calls, error_type=cause, messaging_operation_type="send") == 1
    assert of(series, "workers_producer_queue") == 7


def test_gauges_are_the_snapshots() -> None:
    """What is not known has no series; every reason of a pause has one."""
    held = Pause(PauseKind.SCHEMA, "an id is looked up")
    views = (
        PartitionView(partition=0, lag=5, oldest=1, trend=0.5),
        PartitionView(partition=3, pause=held),
    )
    model = ModelView(
        block="enrichment", name="m", version="2", alias=None, bypassed="why", backend="compiled"
    )
    board = Board(Snapshot(build="1.2", partitions=views, models=(model,)))
    registry = Registry()
    registry.watch(lambda: of_snapshot(board, SystemClock(), 300.0, lambda: {"enrichment": 0}))
    registry.watch(of_process)

    series = rendered(registry)

    assert of(series, "workers_telemetry_faults_total") == 0
    assert of(series, "workers_partitions_assigned") == 2
    assert of(series, "workers_partition_lag", partition="0") == 5
    assert [k for k in series if k[0] == "workers_partition_lag"] == [
        ("workers_partition_lag", (("partition", "0"), ("worker", "w")))
    ]
    assert of(series, "workers_partitions_paused", reason="schema") == 1
    assert len([k for k in series if k[0] == "workers_partitions_paused"]) == len(PauseKind)
    assert of(series, "workers_model_info", version="2", backend="compiled") == 1
    assert of(series, "workers_model_bypassed", block="enrichment") == 1
    assert of(series, "workers_model_age_seconds") > 1e9
    assert of(series, "workers_poll_age_limit_seconds") == 300
    assert of(series, "process_memory_usage_bytes") > 1e6
    assert of(series, "process_unix_file_descriptor_count") > 3


def test_the_shadows_counts_are_told() -> None:
    """Every row that it was offered, by what became of it and why."""
    shadow = ShadowCountsState(compared=10, disagreed=2, differing=8, difference_sum=0.5)
    shadow.turned_away["busy"] = 3
    shadow.failed["hang"] = 1
    counts = CountsState(tried_again=4, shadow=shadow)
    counts.breaches["score"] = 6
    counts.given_up["reasons"] = 5
    registry = Registry()
    registry.watch(lambda: of_counts(counts))

    series = rendered(registry)

    assert of(series, "workers_telemetry_faults_total") == 0
    assert of(series, "workers_shadow_rows_total") == 14
    assert of(series, "workers_shadow_rows_total", result="skipped", why="busy") == 3
    assert of(series, "workers_shadow_rows_total", result="failed", why="hang") == 1
    assert of(series, "workers_shadow_score_difference_total") == 0.5
    assert of(series, "workers_latency_breaches_total", stage="score") == 6
    assert of(series, "workers_latency_given_up_total", given_up="reasons") == 5
    assert of(series, "workers_records_tried_again_total") == 4
    assert np.isfinite(list(series.values())).all()
