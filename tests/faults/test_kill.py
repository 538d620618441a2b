"""Kill -9 at random instants and at every failpoint, on real Kafka, judged by the verifier."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.faults.rig import FAILPOINTS, MAX_RECORDS, Flow, Zygote, topology_file, zygotes
from workers.testing import RealKafka, isolated
from workers.testing.verifier import Expected, Verifier
from workers.topology import Delivery, Sequencing, Topology
from workers.topology.worker import DeadLetterTopic, LedgerTopic
from workers.wiring import pick


def drive(found: list[Zygote], plan: list[str], seed: int) -> list[threading.Thread]:
    """Each instance lives its half of the plan; both at once."""

    def lives(number: int, zygote: Zygote) -> None:
        chance = random.Random(seed + number)
        for failpoint in plan[number::2]:
            zygote.life(failpoint, chance)
        zygote.begin()

    threads = [threading.Thread(target=lives, args=pair) for pair in enumerate(found)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_exactly_once_survives_kill_9(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """Fifty lives cut short: every record once, in order per key, no transaction left open."""
    _, worker = isolated(topology, pick(topology, None), kafka)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    plan = [*FAILPOINTS * 5, *["random"] * 20]
    seed = 20131001
    random.Random(seed).shuffle(plan)

    with Verifier(kafka.bootstrap_servers, worker) as verifier, zygotes(path, tmp_path) as found:
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        for thread in drive(found, plan, seed):
            thread.join()
        flow.stop()
        verifier.until(flow.sent, 120)
        killed = found[0].killed + found[1].killed
        for zygote in found:
            zygote.drain()
        assert verifier.faults(flow.expected) == [], seed
        assert killed.total() >= 50
        assert all(killed[name] for name in FAILPOINTS), killed
    print(f"{killed.total()} kills {dict(killed)}, {flow.sent} records")


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(600)
def test_at_least_once_loses_nothing_and_bounds_what_is_doubled(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """A kill doubles at most the batch being written and the one whose offsets were on the way."""
    _, worker = isolated(topology, pick(topology, None), kafka, delivery=Delivery.AT_LEAST_ONCE)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    plan = ["polled", "begun", "half", "committing", "committed", "random"] * 2
    seed = 7

    with Verifier(kafka.bootstrap_servers, worker) as verifier, zygotes(path, tmp_path) as found:
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        for thread in drive(found, plan, seed):
            thread.join()
        flow.stop()
        verifier.until(flow.sent, 120)
        for zygote in found:
            zygote.drain()
        killed = found[0].killed + found[1].killed
        doubled = killed.total() * 2 * MAX_RECORDS
        assert verifier.faults(flow.expected, doubled=doubled) == [], seed
    print(f"{killed.total()} kills, {flow.sent} records")


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_no_kill_lets_a_key_pass_a_record_of_it_that_failed(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """`sequence: key`, partitions going to and fro: what is behind a failure of its key is parked.

    And nothing else is: what each life has to know is in the topics alone.
    """
    letters = DeadLetterTopic(
        topic=f"dlq.{tmp_path.name}", ledger=LedgerTopic(topic=f"ledger.{tmp_path.name}")
    )
    _, worker = isolated(
        topology, pick(topology, None), kafka, dead_letter=letters, sequence=Sequencing.KEY
    )
    # Held for what fails by itself, half a stream of parked records would open it.
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=False)
    ledger = f"dead_letter: {{topic: {letters.topic}, ledger: {{topic: ledger.{tmp_path.name}}}}}"
    text = path.read_text().replace(f"dead_letter: {{topic: {letters.topic}}}", ledger)
    path.write_text(text.replace("batch:", "breaker: null\n    sequence: key\n    batch:"))
    plan, seed = [*FAILPOINTS, *["random"] * 6], 11
    random.Random(seed).shuffle(plan)

    with Verifier(kafka.bootstrap_servers, worker) as verifier, zygotes(path, tmp_path) as found:
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        for thread in drive(found, plan, seed):
            thread.join()
        flow.stop()
        verifier.until(flow.sent, 120)
        for zygote in found:
            zygote.drain()
        first = dict[int, int]()
        for place in flow.pills:
            first.setdefault(flow.key(place), place)
        dead = [n for n in range(flow.sent) if n >= first.get(flow.key(n), flow.sent)]
        assert len(dead) > len(flow.pills) > 0
        assert verifier.faults(Expected(flow.sent, dead)) == [], seed
    print(f"{len(plan)} kills, {flow.sent} records, {len(dead)} of them dead letters")
