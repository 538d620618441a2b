"""What a worker's topology says of its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workers.contracts.derive import BLOCKS
from workers.topology import (
    Exploration,
    OnModelFailure,
    RuleSet,
    Shape,
    Staleness,
    Tombstones,
    Unframed,
    WholeBlock,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What of an event goes into its decision record.

    `features` by name; None: all but those that read a sensitive field. `sample` is the share of
    the keys whose decisions are written; `key`: does the record repeat the event's key?
    """

    features: frozenset[str] | None = None
    sample: float = 1.0
    key: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a worker's topology says of its path.

    `blocks` names the enrichment blocks, one a model, in the order of the output's fields; `rules`
    has those of a block by its name; `shadow`: somebody wants to score the same rows again;
    `shape`: where the blocks go, `whole`: how a header holds one;
    `staleness`: events have an age, because they come as a stream does. `aliases` has the alias of
    a block's model, where it is no fixed version; `exploration` is the first block's.
    """

    worker: str
    input_subject: str
    output_subject: str
    decisions_subject: str | None = None
    blocks: tuple[str, ...] = BLOCKS
    rules: Mapping[str, RuleSet] = field(default_factory=dict)
    logged: Logged = field(default_factory=Logged)
    aliases: Mapping[str, str] = field(default_factory=dict)
    exploration: Exploration | None = None
    shadow: bool = False
    shape: Shape = Shape.DERIVED
    whole: WholeBlock = WholeBlock.JSON
    tombstones: Tombstones = Tombstones.FORWARD
    unframed: Unframed = Unframed.DEAD_LETTER
    on_model_failure: OnModelFailure = OnModelFailure.FALLBACK
    staleness: Staleness | None = None
    max_payload: int = 1024 * 1024


def untimed() -> float:
    """Nobody wants to know how long it takes."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Effort:
    """What there is time for: what is left out when a batch would break its latency budget.

    `clock` gives seconds, for what is told of costs; no outcome depends on it.
    """

    model: bool = True
    reasons: bool = True
    clock: Callable[[], float] = field(default=untimed, compare=False)


FULL = Effort()
