"""Groups that never come to rest, restarts under load, and two with one name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.rig import PAUSE, Scene, Zygote, topology_file, zygotes
from workers.errors import ClientHalt, ExitCode, Fenced
from workers.testing.cluster import Cluster
from workers.topology import Delivery, Protocol

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

AnyScene = Callable[..., Scene]
RESTARTS = {Delivery.EXACTLY_ONCE: 8, Delivery.AT_LEAST_ONCE: 20}
"""At least once is where a restart might double something."""


@pytest.mark.parametrize("delivery", list(Delivery))
def test_rolling_restarts_double_nothing(scene: AnyScene, seed: int, delivery: Delivery) -> None:
    """Three processes drained and started again, one after the other, again and again."""
    chance = random.Random(seed)
    with scene(delivery=delivery) as live:
        for slot in range(3):
            live.start(slot)
        live.progress()
        for turn in range(RESTARTS[delivery]):
            PAUSE.wait(chance.uniform(0.0, 0.3))
            live.stop(turn % 3)
            live.start(turn % 3)
            live.progress(1)
        live.conclude(doubled=0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("protocol", "static"), [(Protocol.CLASSIC, True), (Protocol.CONSUMER, False)]
)
def test_a_storm_of_rebalances_doubles_nothing(
    cluster: Cluster, scene: AnyScene, tmp_path: Path, seed: int, protocol: Protocol, static: bool
) -> None:
    """Members start, drain and are killed each second; so is, once, the group's coordinator."""
    chance = random.Random(seed)
    with scene(protocol=protocol) as live:
        path = topology_file(tmp_path, cluster.bootstrap_servers, live.worker, static=static)
        with zygotes(path, tmp_path, 3) as found:
            for zygote in found:
                zygote.begin()
            live.progress()
            for turn in range(8):
                upset(chance, chance.choice(found))
                if turn == 2:
                    cluster.group_coordinator(live.worker.group).kill()
                if turn == 5:
                    cluster.heal()
                PAUSE.wait(chance.uniform(0.5, 1.5))
            live.progress()
            live.flow.stop()
            live.all_out()
            for zygote in found:
                zygote.drain()
            live.conclude()


def upset(chance: random.Random, zygote: Zygote) -> None:
    """One life ends, well or not, and the next begins."""
    print(f"ending {zygote.pid}")
    zygote.kill() if chance.random() < 0.5 else zygote.terminate()
    zygote.begin()


def test_the_elder_of_two_instances_of_one_name_ends(scene: AnyScene) -> None:
    """Classic: the younger takes the place. Exit code 8, and no supervisor starts it again."""
    with scene(static_membership=True, instance="twin") as live:
        elder = live.start()
        live.progress()
        live.drivers.clear()
        live.start()
        with pytest.raises(Fenced) as fenced:
            elder.wait(30)
        assert fenced.value.exit_code is ExitCode.FENCED
        live.progress()
        live.conclude()


def test_the_younger_of_two_instances_of_one_name_is_refused(scene: AnyScene) -> None:
    """KIP-848: it says so and ends; the elder does not notice."""
    with scene(static_membership=True, instance="twin", protocol=Protocol.CONSUMER) as live:
        # Two transactional ids, or that is what it would end by.
        live.start()
        live.progress()
        younger = live.twin()
        with pytest.raises(ClientHalt, match="instance ID is still used by another"):
            younger.wait(30)
        live.progress()
        live.conclude()
