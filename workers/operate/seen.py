"""What a cluster has, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.operate.acls import SeenAcl


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTopic:
    """A topic. `settings` is None where we may not read them; else all of them, defaults too."""

    partitions: int
    replication_factor: int
    settings: Mapping[str, str] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGroup:
    """A consumer group. `protocol` is `classic` or `consumer`.

    `overtaken` is the number of records between the committed offset and the beginning of the
    partition, by partition: retention removed them before they were read.
    """

    protocol: str
    members: int
    assignor: str = ""
    overtaken: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was asked of a cluster.

    `settings` are one broker's; empty where they cannot be read. `acls` is None where there is no
    authorizer, or where they cannot be read, which `unread` then says. `unread` names what could
    not be read, and why.
    """

    brokers: int
    topics: Mapping[str, SeenTopic] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, SeenGroup] = field(default_factory=dict)
    acls: tuple[SeenAcl, ...] | None = None
    authorizer: bool | None = None
    unread: tuple[str, ...] = ()
