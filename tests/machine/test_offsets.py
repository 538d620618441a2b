"""Whatever happens in whatever order, offsets say what is done: a state machine against a model.

The real loop, source, positions, publishers, breaker and schemas run on a simulated client; the
cluster behind it holds every commit to the promises. To look further than a run of the suite:
`pytest tests/machine --hypothesis-profile=long -o timeout=0`.
"""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import ROOT
from tests.machine.cluster import Cluster
from tests.machine.process import Process, Registry, simulate
from workers.topology import BreakerSettings, Delivery, Worker, load
from workers.wiring import pick

SLOTS = st.integers(0, 1)
PARTITIONS = st.integers(0, 2)
ROUNDS = st.integers(0, 12)
SLOW = st.sampled_from([1, 2, 5, 12])
"""Calls of the loop for one of a publish."""
KINDS = st.sampled_from([*[b"good"] * 9, b"bad", b"bad", b"huge", b"unknown"])
FAULTS = [
    ("consume", "raise"),
    ("consume", "transport"),
    ("committed", "timeout"),
    ("bounds", "timeout"),
    ("seek", "state"),
    ("commit", "refused"),
    ("commit", "unanswered"),
    ("init", "timeout"),
    ("offsets", "timeout"),
    ("send", "topic"),
    ("send", "unwell"),
    *(("end", how) for how in ("won", "lost", "slow", "resumed", "twice", "twice", "twice")),
]
SHORT = settings(
    # Making a failure small takes minutes: that is for the long profile.
    phases=[Phase.generate],
    max_examples=100,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ENOUGH = 4000
"""Rounds in which everything must be settled once nothing happens any more."""


def worker_of(delivery: Delivery) -> Worker:
    """The demo's worker, with small batches and short waits."""
    worker = pick(load(ROOT / "topology.yaml", {}), None)
    batch = worker.batch.model_copy(update={"max_records": 5, "linger": 0.05})
    breaker = BreakerSettings.model_validate({"consecutive": 2, "again": "500ms", "probe": 1})
    return worker.model_copy(
        update={
            "delivery": delivery,
            "decisions": None,
            "batch": batch,
            "breaker": breaker,
            "drain_timeout": 2.0,
            "stopped_partition_retry": 1.0,
        }
    )


class Offsets(RuleBasedStateMachine):
    """Two slots of one group on three partitions."""

    delivery = Delivery.EXACTLY_ONCE

    def __init__(self) -> None:
        super().__init__()
        self.worker = worker_of(self.delivery)
        self.registry = Registry()
        self.cluster = Cluster(
            3,
            exactly_once=self.delivery is Delivery.EXACTLY_ONCE,
            timeout=self.worker.transaction_timeout,
        )
        self.processes: dict[int, Process] = {}
        self.slow = 1
        self._round = 0

    @initialize(
        kinds=st.lists(st.lists(KINDS, min_size=2, max_size=12), min_size=3, max_size=3), slow=SLOW
    )
    def begin(self, kinds: list[list[bytes]], slow: int) -> None:
        """Two processes, their partitions, and records."""
        self.slow = slow
        for partition, found in enumerate(kinds):
            self.cluster.log[partition].extend(found)
        for slot in (0, 1):
            self.start(slot)
            for _ in range(3):
                self.processes[slot].main.step()
        for partition in self.cluster.log:
            self.move(partition, partition % 2, rounds=0)

    @rule(partition=PARTITIONS, kinds=st.lists(KINDS, min_size=3, max_size=12), rounds=ROUNDS)
    def produce(self, partition: int, kinds: list[bytes], rounds: int) -> None:
        """More records."""
        self.cluster.log[partition].extend(kinds)
        self._all_go(rounds)

    @rule(slot=SLOTS)
    def start(self, slot: int) -> None:
        """A process, where none runs."""
        found = self.processes.get(slot)
        if found is None or not found.running:
            self._end(slot)
            self.processes[slot] = Process(self.cluster, self.worker, slot, self.registry)

    @rule(slot=SLOTS, steps=st.integers(1, 30))
    def work(self, slot: int, steps: int) -> None:
        """A loop goes on, by so many calls into the client."""
        if slot in self.processes:
            for _ in range(steps):
                self.processes[slot].main.step()

    @rule(slot=SLOTS, steps=st.integers(1, 4), which=st.integers(0, 2))
    def publish(self, slot: int, steps: int, which: int) -> None:
        """A publish goes on: the newest, or one that was left behind."""
        if slot in self.processes and (found := self.processes[slot].publishing()):
            for _ in range(steps):
                found[-1 - which % len(found)].step()

    @rule(partition=PARTITIONS, slot=SLOTS, rounds=ROUNDS)
    def move(self, partition: int, slot: int, rounds: int) -> None:
        """The group gives a partition to another member."""
        if slot in self.processes:
            self.cluster.move(partition, self.processes[slot].consumer)
        self._all_go(rounds)

    @rule(slot=SLOTS, rounds=ROUNDS)
    def expire(self, slot: int, rounds: int) -> None:
        """The group lets a member go, which does not know it, and gives what it had to others."""
        found = self.processes.get(slot)
        if found is not None and found.consumer.name in self.cluster.members:
            found.consumer.expire()
            self._assign()
        self._all_go(rounds)

    @rule(slot=SLOTS)
    def kill(self, slot: int) -> None:
        """Kill -9: the session of the dead holds its partitions for now."""
        if slot in self.processes:
            self.processes[slot].kill()

    @rule(slot=SLOTS)
    def stop(self, slot: int) -> None:
        """SIGTERM."""
        if slot in self.processes:
            self.processes[slot].loop.stop()

    @rule(
        slot=SLOTS, faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4), rounds=ROUNDS
    )
    def fail(self, slot: int, faults: list[tuple[str, str]], rounds: int) -> None:
        """The next calls of these kinds fail."""
        for call, how in faults:
            self.cluster.faults[slot, call].append(how)
        self._all_go(rounds)

    @rule(leaky=st.booleans(), denies=st.booleans(), slow=SLOW)
    def weather(self, leaky: bool, denies: bool, slow: int) -> None:
        """Pauses are heard or not, a schema is denied or not, publishes are slow or not."""
        self.cluster.leaky = leaky
        self.registry.denies = denies
        self.slow = slow

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 70.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.cluster.clock.wait(seconds)

    @invariant()
    def promises_hold(self) -> None:
        """No commit broke one, and no loop ended by itself."""
        assert not self.cluster.broken, self.cluster.broken
        for process in self.processes.values():
            if process.main.error is not None:
                raise process.main.error

    def teardown(self) -> None:
        """Nothing happens any more: everything is settled, and then everybody leaves."""
        try:
            if not self.cluster.broken and self.processes:
                self.promises_hold()
                self._settle_all()
                self._leave()
                self.promises_hold()
        finally:
            for slot in list(self.processes):
                self._end(slot)

    def _settle_all(self) -> None:
        self.cluster.faults.clear()
        self.cluster.leaky, self.slow = False, 1
        self.registry.denies = True
        for _ in range(ENOUGH):
            for slot in list(self.processes):
                self.start(slot)
            self._assign()
            for process in self.processes.values():
                self._go(process, 1)
            self.promises_hold()
            if self.cluster.done():
                return
        raise AssertionError(
            f"it stands still at {self.cluster.committed} of "
            f"{ {p: len(log) for p, log in self.cluster.log.items()} }"
        )

    def _assign(self) -> None:
        """The group gives what is nobody's to a member that lives."""
        living = [
            p.consumer for p in self.processes.values() if p.consumer.name in self.cluster.members
        ]
        for partition, owner in self.cluster.owners.items():
            if owner is None and living:
                self.cluster.move(partition, living[partition % len(living)])

    def _leave(self) -> None:
        for process in self.processes.values():
            process.loop.stop()
            for _ in range(ENOUGH):
                self._go(process, 1)
            assert not process.running, "it does not stop"

    def _all_go(self, rounds: int) -> None:
        for _ in range(rounds):
            for process in self.processes.values():
                self._go(process, 1)
                self._go(process, self.slow % 2)

    def _go(self, process: Process, rounds: int) -> None:
        for _ in range(rounds):
            self._round += 1
            process.main.step()
            if self._round % self.slow == 0:
                for task in process.publishing():
                    task.step()

    def _end(self, slot: int) -> None:
        """Of what is over, or was killed, the group hears when its session is over."""
        found = self.processes.pop(slot, None)
        if found is not None:
            found.kill()
            self.cluster.leave(found.consumer.name)


class AtLeastOnce(Offsets):
    """The other guarantee."""

    delivery = Delivery.AT_LEAST_ONCE


@pytest.mark.parametrize("machine", [Offsets, AtLeastOnce])
def test_offsets_say_what_is_done(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over every order of events: no record skipped, doubled or committed by another's hand.

    A committed offset never passes a record that is not settled; a transaction settles each of its
    records once; what was taken away is not committed; and at the end every partition, held or
    not, is at its end.
    """
    simulate(monkeypatch)
    with structlog.testing.capture_logs():
        run_state_machine_as_test(
            machine,
            settings=settings() if settings.get_current_profile_name() == "long" else SHORT,
        )
