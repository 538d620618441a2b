"""Score a file through the very path that a worker uses on Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.contracts.framing import PREFIX
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.path import Enricher
from workers.enrich.versions import Version
from workers.errors import ContractError
from workers.offline.events import datums_of, write_container


@dataclass(slots=True)
class TallyState:
    """What became of a file's events."""

    events: int = 0
    enriched: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)


def score_file(
    enricher: Enricher,
    source: Path,
    target: Path,
    *,
    now: int,
    progress: Callable[[TallyState], None] = lambda _: None,
) -> TallyState:
    """Write the enriched events of `source` to the Avro container `target`.

    Rejected events go, a JSON line each with place, verdict, code and text, beside it into
    `<target>.rejected.jsonl`. Decision ids have the file's name for a topic and the event's place
    in it for an offset. `now` is milliseconds UTC, what `scored_at` says.

    Raises:
        FileFault: the source cannot be read; the target is not written then.
        ContractError: the worker has no version to read it as.
    """
    version, tally = _newest(enricher), TallyState()
    rejected = target.with_name(f"{target.name}.rejected.jsonl")

    def values() -> Iterator[bytes]:
        with rejected.open("w") as log:
            for datums in datums_of(source, version.source.schema):
                batch = _batch(source.name, now, tally.events, version, datums)
                outcomes = enricher.enrich(batch)
                _count(tally, outcomes)
                for row, rejection in sorted(outcomes.rejected.items()):
                    reject = rejection.reject
                    line = {
                        "event": batch.offsets[row],
                        "verdict": reject.verdict.value,
                        "code": reject.code,
                        "text": str(reject),
                    }
                    log.write(json.dumps(line) + "\n")
                progress(tally)
                for _, value in sorted(outcomes.enriched.items()):
                    yield (value or b"")[PREFIX:]

    write_container(target, version.output.schema, values())
    return tally


def _newest(enricher: Enricher) -> Version:
    direct = [v for v in enricher.binding.versions.values() if v.rewriter is None]
    if not direct:
        raise ContractError("no input version has an output derived from it")
    return max(direct, key=lambda version: version.source.version)


def _batch(name: str, now: int, first: int, version: Version, datums: list[bytes]) -> Batch:
    count = len(datums)
    prefix = version.source.frame
    return Batch(
        topic=name,
        now=now,
        keys=[None] * count,
        values=[prefix + datum for datum in datums],
        headers=[None] * count,
        partitions=[0] * count,
        offsets=list(range(first, first + count)),
        timestamps=[(0, 0)] * count,
    )


def _count(tally: TallyState, outcomes: Outcomes) -> None:
    tally.events += len(outcomes.batch)
    tally.enriched += len(outcomes.enriched)
    tally.rejected.update(r.reject.verdict.value for r in outcomes.rejected.values())
    tally.decisions.update(outcomes.decided.values())
