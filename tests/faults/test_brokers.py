"""Brokers that die, stop and stay away: nothing lost, nothing doubled, and it goes on alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.faults.rig import PAUSE, Scene
from workers.testing.cluster import Broker, Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

AnyScene = Callable[..., Scene]


def by_role(cluster: Cluster, scene: Scene) -> dict[str, Broker]:
    """Who plays which role for the worker now."""
    return {
        "leader of the output": cluster.leader(scene.worker.output.topic, 0),
        "group coordinator": cluster.group_coordinator(scene.worker.group),
        "transaction coordinator": cluster.transaction_coordinator(scene.transactional_id()),
    }


def test_a_broker_killed_in_any_role_costs_nothing(
    cluster: Cluster, scene: AnyScene, seed: int
) -> None:
    """Both coordinators and a leader, in random order; the worker is never touched."""
    chance = random.Random(seed)
    with scene() as live:
        live.start()
        live.progress()
        roles = list(by_role(cluster, live))
        chance.shuffle(roles)
        for role in roles:
            victim = by_role(cluster, live)[role]
            print(f"killing broker {victim.number}, {role}")
            victim.kill()
            PAUSE.wait(chance.uniform(0.0, 1.0))
            live.progress()
            cluster.heal()
        live.conclude()


def test_two_of_three_brokers_down_past_the_transaction_timeout(
    cluster: Cluster, scene: AnyScene, seed: int
) -> None:
    """Nothing can be written with one replica: the worker waits, in bounds, and goes on alone."""
    chance = random.Random(seed)
    with scene() as live:
        driver = live.start()
        live.progress()
        victims = chance.sample(list(cluster.brokers.values()), 2)
        print(f"killing brokers {[victim.number for victim in victims]}")
        for victim in victims:
            victim.kill()
        PAUSE.wait(live.worker.transaction_timeout + 3)
        assert not driver.ended
        cluster.heal()
        live.progress()
        live.conclude()


def test_brokers_that_stand_still_past_the_transaction_timeout(
    cluster: Cluster, scene: AnyScene
) -> None:
    """All stopped, as by a disk that hangs, then on: the batch is given up and done again."""
    with scene() as live:
        live.start()
        live.progress()
        for broker in cluster.brokers.values():
            broker.pause()
        PAUSE.wait(live.worker.transaction_timeout + 2)
        for broker in cluster.brokers.values():
            broker.resume()
        live.progress()
        live.conclude()
