"""What a load needs, by the formulas of `benchmarks.capacity`."""

from __future__ import annotations

import random

import pytest

from benchmarks.capacity import Assumptions, Measured, plan, touched

ONE = Measured(
    cpu=10.0,
    broker_cpu=6.0,
    input=100.0,
    output=200.0,
    decisions=100.0,
    per_batch=1000.0,
    memory=512.0,
)


def test_the_model_is_what_the_page_says() -> None:
    """By hand, for a million events a second of 400 bytes in all."""
    found = plan(1e6, ONE, Assumptions(load=0.5, replicas=3, subscribers=2, each=2, zones=3))

    assert (found.processes, found.partitions) == (20, 40)
    assert found.memory_gb == 10
    assert found.broker_cores == pytest.approx(36)
    assert (found.written_mb, found.replicated_mb, found.read_mb) == (400, 800, 600)
    assert found.transactions == 1000
    assert found.markers_key == pytest.approx(1000 * (2 * 40 + 1), rel=1e-6)
    assert found.markers_same == pytest.approx(1000 * (2 + 60 + 1), rel=1e-6)
    # A thousand seconds: 56 cores at 0.04 an hour; 800 and two thirds of 1,000 GB at 0.02.
    assert found.cost_cores == pytest.approx(56 / 3.6 * 0.04)
    assert found.cost_network == pytest.approx((800 + 2000 / 3) * 0.02)
    # 1,200 GB for three of thirty days at 0.08 a month.
    assert found.cost_storage == pytest.approx(1200 * 0.1 * 0.08)
    assert found.cost == found.cost_cores + found.cost_network + found.cost_storage


def test_large_events_need_partitions_for_their_bytes() -> None:
    """Where a partition is the limit, not a process."""
    found = plan(1e6, ONE, Assumptions(each=1, load=1.0, partition_mb=1.0))

    assert (found.processes, found.partitions) == (10, 200)


def test_so_many_partitions_get_a_record_as_when_keys_are_thrown() -> None:
    """The formula against a hundred throws."""
    chance = random.Random(7)
    thrown = [len({chance.randrange(600) for _ in range(1000)}) for _ in range(100)]

    assert touched(1000, 600) == pytest.approx(sum(thrown) / 100, rel=0.01)
    assert touched(1, 600) == pytest.approx(1)
