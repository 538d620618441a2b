"""A cluster as a consumer group and its transactions see it, and the promises held against it.

Offsets, owners, generations and transactions follow Kafka's rules where the worker depends on them;
where Kafka's own are looser it is as unkind as Kafka may be: an offset is taken from any member
with a current generation (KIP-1287), one without a member id is not fenced at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.machine.tasks import SimulatedClock

Place = tuple[int, int]
"""Partition and offset."""
Metadata = tuple[str, int]
"""Member id and generation, as a client knew them at one moment."""


class Member(Protocol):
    """What the group knows of a client."""

    name: str
    generation: int

    def tell(self, what: str, partition: int = -1) -> None:
        """Serve this callback in one of the next polls."""
        ...


@dataclass(slots=True)
class Transaction:
    """Open at the broker."""

    began: float
    records: list[tuple[str, Place]]
    offsets: dict[int, int]


class Cluster:
    """One input topic, one group. `broken` has every promise that was broken, in words."""

    def __init__(self, partitions: int, *, exactly_once: bool, timeout: float) -> None:
        self.clock = SimulatedClock()
        self.exactly_once = exactly_once
        self.log: dict[int, list[bytes]] = {p: [] for p in range(partitions)}
        self.committed: dict[int, int] = {}
        self.delivered: Counter[Place] = Counter()
        self.broken: list[str] = []
        self.faults: dict[tuple[int, str], deque[str]] = defaultdict(deque)
        self.leaky = False
        self.members: dict[str, Member] = {}
        self.owners: dict[int, Member | None] = dict.fromkeys(range(partitions))
        self.moving: dict[int, Member | None] = {}
        self.late: set[tuple[str, int]] = set()
        """Requests to commit that were sent twice: identity and epoch of the delayed one."""
        self._generation = 0
        self._joined = 0
        self._timeout = timeout
        self._epochs: Counter[str] = Counter()
        self._open: dict[str, Transaction] = {}

    # The group.

    def join(self, member: Member) -> None:
        """A new member id, and a new generation for all."""
        self._joined += 1
        member.name = f"member-{self._joined}"
        self.members[member.name] = member
        self._next_generation()

    def _next_generation(self) -> None:
        self._generation += 1
        for member in self.members.values():
            member.generation = self._generation

    def leave(self, name: str) -> None:
        """Gone, or its session is over: its partitions are nobody's."""
        member = self.members.pop(name, None)
        if member is None:
            return
        for partition, owner in self.owners.items():
            if owner is member:
                self.owners[partition] = None
                self.moving.pop(partition, None)
        for partition, to in list(self.moving.items()):
            if to is member:
                self.moving[partition] = None
        self._next_generation()

    def move(self, partition: int, to: Member) -> None:
        """The group's plan: from now on `to` reads it, as soon as its owner gave it away."""
        owner = self.owners[partition]
        if owner is to or partition in self.moving or to.name not in self.members:
            return
        if owner is None:
            self._give(partition, to)
        else:
            self.moving[partition] = to
            owner.tell("revoke", partition)

    def _give(self, partition: int, to: Member) -> None:
        self.owners[partition] = to
        self._next_generation()
        to.tell("assign", partition)

    def given_away(self, member: Member, partition: int) -> None:
        """The owner's callback is over."""
        if self.owners[partition] is not member:
            return
        self.owners[partition] = None
        to = self.moving.pop(partition, None)
        if to is not None and to.name in self.members:
            self._give(partition, to)

    def refuses(self, metadata: Metadata, *, transactional: bool) -> bool:
        """Would offsets that come with this be refused?

        Without a member id those of a transaction are not, others only where there are members
        (`ClassicGroup.validateOffsetCommit`).
        """
        name, generation = metadata
        if not name:
            return bool(self.members) and not transactional
        return name not in self.members or generation != self._generation

    def commit(self, offsets: Mapping[int, int], name: str) -> None:
        """Offsets that a member sends by themselves."""
        if name or self.members:
            self._hold_to_owner(offsets, name)
        self._move(offsets)

    def _hold_to_owner(self, offsets: Mapping[int, int], name: str) -> None:
        for partition in sorted(offsets):
            owner = self.owners[partition]
            if owner is None or owner.name != name:
                self.broken.append(f"{name!r} commits [{partition}], which is not its own")

    def _move(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in sorted(offsets.items()):
            old = self.committed.get(partition, 0)
            if offset < old:
                self.broken.append(f"[{partition}] goes from {old} back to {offset}")
            missing = [o for o in range(old, offset) if not self.delivered[partition, o]]
            if missing:
                self.broken.append(f"[{partition}] is committed at {offset} without {missing}")
            self.committed[partition] = offset

    def unstable(self, partition: int) -> bool:
        """Are offsets of it in a transaction that is still open?"""
        self.expire()
        return any(partition in found.offsets for found in self._open.values())

    # Transactions.

    def begin(self, identity: str) -> int:
        """A new producer: what the one before left open is aborted, its requests are fenced."""
        self._open.pop(identity, None)
        self._epochs[identity] += 1
        return self._epochs[identity]

    def expire(self) -> None:
        """Transactions over their timeout are aborted, and their producers fenced."""
        for identity, found in list(self._open.items()):
            if self.clock.seconds - found.began >= self._timeout:
                self.begin(identity)

    def fenced(self, identity: str, epoch: int) -> bool:
        """Is there a newer producer of this name?"""
        self.expire()
        return self._epochs[identity] != epoch

    def add(
        self,
        identity: str,
        records: Sequence[tuple[str, Place]],
        offsets: Mapping[int, int],
        by: str,
    ) -> None:
        """Records and offsets of the transaction that is open under this name.

        Offsets are the sender's to give now; until the transaction ends nobody else reads there.
        """
        self._hold_to_owner(offsets, by)
        if (identity, self._epochs[identity]) in self.late:
            # It comes between the records and their offsets, and ends the wrong transaction.
            self._hold_to_exactly_once(Transaction(self.clock.seconds, list(records), {}))
        self._open[identity] = Transaction(self.clock.seconds, list(records), dict(offsets))

    def end(self, identity: str) -> bool:
        """Commit what is open under this name. False where nothing is."""
        found = self._open.pop(identity, None)
        if found is None:
            return False
        self._hold_to_exactly_once(found)
        self.deliver(found.records)
        self._move(found.offsets)
        return True

    def _hold_to_exactly_once(self, found: Transaction) -> None:
        """It has the records from the committed offset to its own, each once, in order."""
        places = [place for _, place in found.records]
        for partition in {p for p, _ in places} | found.offsets.keys():
            old = self.committed.get(partition, 0)
            wanted = list(range(old, found.offsets.get(partition, old)))
            seen = [o for p, o in places if p == partition]
            if sorted(seen) != wanted:
                self.broken.append(f"[{partition}] transaction has {seen}, settles {wanted}")
        for topic in {topic for topic, _ in found.records}:
            for partition in self.log:
                order = [o for t, (p, o) in found.records if (t, p) == (topic, partition)]
                if order != sorted(order):
                    self.broken.append(f"[{partition}] out of order: {order}")

    def deliver(self, records: Sequence[tuple[str, Place]]) -> None:
        """For good: readers see them."""
        self.delivered.update(place for _, place in records)

    def done(self) -> bool:
        """Is every record settled?"""
        return all(self.committed.get(p, 0) == len(log) for p, log in self.log.items())
