"""What is seen of a source and of everybody who reads it, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.operate.seen import Seen

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group: its members' client ids, and its committed offsets by topic."""

    name: str
    clients: tuple[str, ...] = ()
    committed: Mapping[str, Offsets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """`own` is the worker's group, None where there is none; `neighbours` read the source too.

    `ends` are the source's end offsets; `topics` names every topic of the cluster; `written` says
    whether anything is in the worker's topics. `quotas` is None where they cannot be asked for.
    """

    seen: Seen
    source: str
    ends: Offsets
    topics: tuple[str, ...]
    own: Group | None = None
    neighbours: Mapping[str, Group] = field(default_factory=dict)
    written: bool = False
    quotas: tuple[Quota, ...] | None = None
    quotas_unread: str = ""

    def committed(self, group: str) -> Offsets:
        """A neighbour's offsets in the source."""
        return self.neighbours[group].committed.get(self.source, {})

    def lag(self, group: str) -> int:
        """How far a neighbour is behind, in offsets of partitions that it has committed."""
        done = self.committed(group)
        return sum(max(0, self.ends.get(number, at) - at) for number, at in done.items())


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of a user, a client id or both; None in `entity` is everybody's default."""

    entity: Mapping[str, str | None]
    limits: Mapping[str, float]

    def binds(self, user: str, client: str) -> bool:
        """Does it hold for this client?"""
        mine = {"user": user, "client-id": client}
        return all(
            kind in mine and (name is None or name == mine[kind])
            for kind, name in self.entity.items()
        )

    def __str__(self) -> str:
        """For people."""
        who = ", ".join(f"{kind} {name or '(default)'}" for kind, name in self.entity.items())
        return f"{who}: {', '.join(f'{key}={value:g}' for key, value in self.limits.items())}"
