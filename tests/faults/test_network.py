"""Networks that are slow, break, lie and deliver late."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from tests.faults.rig import PAUSE, Scene
from workers.errors import Retry
from workers.stream.publish import TransactionalPublisher
from workers.testing.cluster import Cluster
from workers.testing.proxy import CLEAR, END_TXN, HeldRequest, Weather

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

AnyScene = Callable[..., Scene]
INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90


def test_slow_and_breaking_connections_cost_nothing(
    cluster: Cluster, scene: AnyScene, seed: int
) -> None:
    """300 ms each way, one request in twenty ends its connection: slow, and every record there."""
    cluster.network.chance = random.Random(seed)
    with scene() as live:
        live.start()
        live.progress()
        cluster.network.weather(Weather(delay=0.3, resets=0.05))
        live.progress(50)
        PAUSE.wait(3)
        cluster.network.clear()
        live.conclude()


def test_half_open_connections_are_noticed(cluster: Cluster, scene: AnyScene) -> None:
    """The brokers' ends are gone and nobody says so: requests time out, and it goes on."""
    with scene() as live:
        live.start()
        live.progress()
        for proxy in cluster.network.proxies:
            proxy.half_open()
        live.progress()
        live.conclude()


@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_one_way_to_the_transaction_coordinator_is_lost(
    cluster: Cluster, scene: AnyScene, lost: str
) -> None:
    """What was committed without our being told counts once; so does what was not."""
    weather = Weather(deaf=lost == "requests", mute=lost == "answers")
    with scene() as live:
        live.start()
        live.progress()
        proxy = cluster.transaction_coordinator(live.transactional_id()).proxy
        proxy.weather = weather
        # Longer than the socket's timeout; requests are repeated on new connections.
        PAUSE.wait(4)
        proxy.weather = CLEAR
        live.progress()
        live.conclude()


class LateEnd:
    """Delivers a held EndTxn in the middle of a later transaction, which then fails."""

    def __init__(self) -> None:
        self.held: list[HeldRequest] = []
        self.code: int | None = None

    def __call__(self, place: str) -> None:
        if place != "half" or not self.held or self.code is not None:
            return
        # Until the first half of this transaction has reached the broker.
        PAUSE.wait(1)
        answer = self.held[0].deliver()
        # EndTxn version 1: correlation id, throttle time, error code.
        self.code = struct.unpack_from(">h", answer, 8)[0]
        raise Retry("the transaction is given up by the test")


def late_end(cluster: Cluster, live: Scene) -> LateEnd:
    """Hold a commit's request back; the client sends it again, and goes on."""
    late = LateEnd()
    live.start(at=late)
    live.progress()
    late.held = cluster.network.hold(END_TXN)
    live.until(lambda: late.code is not None)
    live.progress()
    return late


def test_a_commit_request_that_arrives_late_harms_nothing(
    cluster: Cluster, scene: AnyScene
) -> None:
    """Its producer is another one by then: the broker refuses it, and no transaction is torn."""
    with scene() as live:
        late = late_end(cluster, live)
        live.conclude()
    assert late.code in {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}


def test_without_a_new_producer_the_late_request_tears_a_transaction(
    cluster: Cluster, scene: AnyScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above guards against is real, and the verifier sees it."""
    monkeypatch.setattr(TransactionalPublisher, "_replace", lambda _, __: None)
    with scene() as live:
        late = late_end(cluster, live)
        with pytest.raises(AssertionError, match="records more than once"):
            live.conclude()
    assert late.code == 0
