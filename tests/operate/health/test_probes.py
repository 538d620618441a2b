"""When a worker is alive, and when it is ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workers.operate.health.probes import STARTUP, Code, reasons, stuck
from workers.stream.snapshot import (
    ModelView,
    PartitionView,
    Pause,
    PauseKind,
    Phase,
    ProducerView,
    Snapshot,
)

MODEL = ModelView(
    block="enrichment", name="m", version="1", alias="champion", bypassed=None, backend="lightgbm"
)
WELL = Snapshot(
    phase=Phase.RUNNING,
    at=100.0,
    last_poll=100.0,
    last_progress=100.0,
    assigned=True,
    partitions=(PartitionView(partition=0), PartitionView(partition=1)),
    models=(MODEL,),
    producer=ProducerView(well=True, since=0.0, why=""),
)
HELD = PartitionView(partition=0, pause=Pause(PauseKind.SCHEMA, "id 7 is being looked up"))
WAITS = Pause(PauseKind.RETRY, "waits for its time")


@pytest.mark.parametrize(
    ("changes", "now", "alive"),
    [
        pytest.param({}, 219.0, True, id="polled within its patience"),
        pytest.param({}, 221.0, False, id="no sign of life"),
        pytest.param({"phase": Phase.DRAINING}, 221.0, False, id="stuck while it drains"),
        pytest.param({"phase": Phase.STARTING}, 221.0, True, id="a model takes long to load"),
        pytest.param(
            {"phase": Phase.STARTING}, 101.0 + STARTUP, False, id="a start that never ends"
        ),
        pytest.param(
            {"producer": ProducerView(well=False, since=0.0, why="brokers are away")},
            150.0,
            True,
            id="an outage of the brokers restarts nobody",
        ),
        pytest.param(
            {"last_progress": 0.0, "partitions": (PartitionView(partition=0, lag=9),)},
            150.0,
            True,
            id="records wait for brokers that do not answer",
        ),
        pytest.param({"publishing": 100.0, "last_poll": 459.0}, 460.0, True, id="a slow publish"),
        pytest.param(
            {"publishing": 100.0, "last_poll": 461.0}, 461.0, False, id="a publish that never ends"
        ),
    ],
)
def test_alive(changes: dict[str, Any], now: float, alive: bool) -> None:
    assert (stuck(replace(WELL, **changes), now, 120.0) is None) is alive


@pytest.mark.parametrize(
    ("changes", "codes", "ready"),
    [
        pytest.param({}, [], True, id="all is well"),
        pytest.param({"phase": Phase.STARTING}, [Code.STARTING], False, id="starting"),
        pytest.param({"phase": Phase.DRAINING}, [Code.DRAINING], False, id="draining"),
        pytest.param({"phase": Phase.STOPPED}, [Code.STOPPED], False, id="stopped"),
        pytest.param({"assigned": False}, [Code.NO_ASSIGNMENT], False, id="no assignment"),
        pytest.param({"partitions": ()}, [], True, id="a member in reserve"),
        pytest.param({"models": ()}, [Code.NO_MODEL], False, id="no model"),
        pytest.param(
            {"models": (replace(MODEL, bypassed="drill"),)},
            [Code.MODEL_BYPASSED],
            True,
            id="a bypass is told",
        ),
        pytest.param(
            {"contracts_refused": "no such field"},
            [Code.CONTRACTS_REFUSED],
            True,
            id="newer contracts do not fit",
        ),
        pytest.param(
            {"producer": ProducerView(well=False, since=90.0, why="brokers are away")},
            [Code.PRODUCER_UNWELL],
            False,
            id="nothing can be written",
        ),
        pytest.param(
            {"partitions": (HELD, PartitionView(partition=1))},
            [Code.PARTITION_PAUSED],
            True,
            id="one partition is held",
        ),
        pytest.param(
            {"partitions": (HELD,)},
            [Code.ALL_PARTITIONS_PAUSED, Code.PARTITION_PAUSED],
            False,
            id="every partition is held",
        ),
        pytest.param(
            {"partitions": (PartitionView(partition=0, pause=WAITS),)},
            [],
            True,
            id="a retry topic waits",
        ),
        pytest.param({"paused": "by ops: audit"}, [Code.PAUSED], True, id="an operator's pause"),
    ],
)
def test_ready(changes: dict[str, Any], codes: list[Code], ready: bool) -> None:
    found = reasons(replace(WELL, **changes), 101.0, 120.0)
    assert [reason.code for reason in found] == codes
    assert (not any(reason.blocks for reason in found)) is ready
    assert all(reason.why for reason in found)


def test_a_loop_that_is_stuck_is_not_ready_either() -> None:
    assert [reason.code for reason in reasons(WELL, 500.0, 120.0)] == [Code.STUCK]
