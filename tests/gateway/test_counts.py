"""Opinions that are counted many at a time are counted as one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.enrich.test_path import POLICY
from tests.telemetry.reading import Series, of, rendered
from tests.telemetry.test_counting import of_flights
from workers.contracts.catalogue import Catalogue
from workers.enrich.batch import Outcomes
from workers.enrich.path import Enricher
from workers.gateway.counts import AT_ONCE, Counts
from workers.gateway.engine import WITHOUT_MODEL
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.models.serving import Canary, Serving
from workers.stream.clock import SystemClock
from workers.stream.counting import count_opinion
from workers.stream.drifting import EVERY, Drifting
from workers.telemetry import names
from workers.telemetry.kinds import Metric
from workers.telemetry.registry import Registry
from workers.topology import Drift


@pytest.fixture
def mixed(contracts: Catalogue, bundle: Bundle, flights: list[bytes]) -> list[Outcomes]:
    """Batches by the model, without it, under a canary and under a bypass, of several sizes."""
    path, found = Enricher(POLICY, contracts, Model(bundle)), list[Outcomes]()
    for size in (1, 2, 30):
        found += [path.enrich(of_flights(flights[at:], size)) for at in range(3)]
        found.append(path.enrich(of_flights(flights, size), WITHOUT_MODEL))
    path.serve([Serving(path.model, None, Canary(Model(bundle), 0.3))])
    found += [path.enrich(of_flights(flights[at:], 20)) for at in range(3)]
    path.serve([replace(path.servings[0], bypass="a drill")])
    return [*found, path.enrich(of_flights(flights, 5))]


def one_by_one(batches: list[Outcomes]) -> Series:
    """As a stream counts."""
    registry = Registry()
    for outcomes in batches:
        for opinion in outcomes.opinions:
            count_opinion(registry, opinion)
    return rendered(registry)


class Later(SystemClock):
    """A clock by which each look at the windows is due."""

    looks = 0

    def monotonic(self) -> float:
        """A look's time after the one before."""
        self.looks += 1
        return self.looks * EVERY


def made(registry: Registry) -> Counts:
    """Counts that a registry watches."""
    counts = Counts(registry, Drifting(Drift()), Later())
    registry.watch(counts.samples)
    return counts


def test_many_at_a_time_are_as_many(mixed: list[Outcomes]) -> None:
    """Decisions, causes, arms, scores; and every row that the champion was asked is looked at."""
    registry = Registry()
    counts = made(registry)

    for outcomes in mixed * 10:
        counts.settled(outcomes, [], 0.001)
        counts.before()
    found, expected = rendered(registry), one_by_one(mixed * 10)

    assert {key: found[key] for key in expected} == pytest.approx(expected)
    rows = sum(len(outcomes.batch) for outcomes in mixed * 10)
    assert of(found, "workers_gateway_batch_size_sum") == rows
    assert of(found, "workers_gateway_batch_duration_seconds_count") == len(mixed) * 10
    asked = [o.asked for outcomes in mixed * 10 for o in outcomes.opinions if o.asked is not None]
    assert of(found, "workers_drift_rows") == sum(len(each.scores) for each in asked)


def test_what_was_answered_otherwise_is_not_counted(
    contracts: Catalogue, bundle: Bundle, flights: list[bytes]
) -> None:
    """The fallback had come first: that one counts."""
    path, registry = Enricher(POLICY, contracts, Model(bundle)), Registry()
    counts, batch = made(registry), of_flights(flights, 10)

    counts.settled(path.enrich(batch.select([2, 3, 4]), WITHOUT_MODEL), [], 0.001)
    counts.settled(path.enrich(batch), [2, 3, 4], 0.001)
    found = rendered(registry)

    assert of(found, "workers_decisions_total") == 10
    assert of(found, "workers_fallbacks_total", cause="over_budget") == 3
    assert of(found, "workers_score_count") == 7


class Broken(Registry):
    """A registry with a bug, for whoever counts decisions."""

    def add(self, metric: Metric, number: float, *values: str) -> None:
        """Not these."""
        if metric is names.DECISIONS:
            raise RuntimeError("boom")
        super().add(metric, number, *values)


def test_a_bug_of_telemetry_stops_no_scoring(mixed: list[Outcomes]) -> None:
    """It is counted where it can be seen, from the scoring thread and from the page."""
    registry = Broken()
    counts = made(registry)

    for _ in range(AT_ONCE):
        counts.settled(mixed[0], [], 0.001)
    counts.before()
    counts.settled(mixed[0], [], 0.001)

    assert of(rendered(registry), "workers_telemetry_faults_total") == 2
