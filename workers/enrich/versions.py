"""An input version that can be enriched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.contracts.catalogue import Registered
from workers.contracts.resolution import Resolver, VersionReader


@dataclass(frozen=True, slots=True)
class Version:
    """An input version that can be enriched; `prefix` frames its enriched events.

    `readers` read it as each version that a model was built for. Where no output is derived from
    it, `rewriter` makes its records ones of a version that has one.
    """

    source: Registered
    output: Registered
    reader: VersionReader
    prefix: bytes
    rewriter: Resolver | None = None
    readers: Mapping[int, VersionReader] = field(default_factory=dict)

    @property
    def id(self) -> int | None:
        """The schema id of its records."""
        return self.source.id

    def __str__(self) -> str:
        """How it is decoded and what it becomes, for people."""
        if self.output is self.source:
            return f"decoded by {self.reader.route.value}, passed on with its block in headers"
        rewritten = " rewritten and" if self.rewriter else ""
        return f"decoded by {self.reader.route.value},{rewritten} enriched as {self.output}"
