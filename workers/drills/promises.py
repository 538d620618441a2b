"""What every drill looks at in the end, and what several of them do."""

from __future__ import annotations

from collections.abc import Collection

from workers.drills.report import Check, Mark, Question, check
from workers.drills.stage import Stage
from workers.drills.verify import (
    Origin,
    bytes_kept,
    dead_letters_are,
    each_once,
    offsets_at_end,
    order_per_key,
)
from workers.topology import Delivery

TRUE_COUNT = "the worker's own counts, in its last log line, are what the reader saw"


def promises(
    stage: Stage, *, bad: Collection[Origin] = (), doubled_at_most: int | None = 0
) -> None:
    """Hold what came out against what went in; the workers have drained by now.

    `doubled_at_most` is what `at_least_once` may repeat; None: any number.
    """
    inputs, found = stage.inputs(), stage.outcomes
    once = stage.worker.delivery is Delivery.EXACTLY_ONCE
    stage.checks += [
        each_once(inputs, found, 0 if once else doubled_at_most),
        order_per_key(inputs, found),
        dead_letters_are(inputs, found, bad),
        bytes_kept(inputs, found),
        offsets_at_end(stage.committed(), inputs),
    ]


def drained(stage: Stage) -> None:
    """End all processes as a deployment does."""
    codes = stage.drain()
    stage.checks.append(
        check(
            "SIGTERM: what was read is finished, and the process ends with exit code 0",
            f"exit codes {codes}",
            held=all(code == 0 for code in codes),
        )
    )


def counted(stage: Stage) -> Check:
    """One process, one life: its totals are the reader's."""
    line = stage.processes[-1].said("worker.drained")
    if not line:
        return check(TRUE_COUNT, "no such line", Question.SEEN, held=False)
    enriched = sum(each.block is not None for each in stage.outcomes)
    dead = len(stage.outcomes) - enriched
    own = (line[-1]["enriched"], sum(line[-1]["dead_lettered"].values()))
    return check(
        TRUE_COUNT,
        f"the worker: {own[0]:,} enriched and {own[1]:,} dead letters; the reader: {enriched:,} "
        f"and {dead:,}",
        Question.SEEN,
        held=own == (enriched, dead),
    )


def budget(stage: Stage) -> Check:
    """The declared latency budget, by the worker's own count of batches over it."""
    expected = "batches keep to the latency budget of topology.yaml: one in a hundred may not"
    if stage.worker.latency is None:
        why = "topology.yaml declares no `latency`, so there is nothing to hold it to"
        return Check(expected, why, Mark.NOT_SHOWN, (Question.LATENCY,))
    line = stage.processes[-1].said("worker.drained")[-1]
    over, batches = line.get("latency_breaches", {}), line["batches"]
    return check(
        expected,
        f"{sum(over.values())} of {batches} batches over it {over or ''}".rstrip(),
        Question.LATENCY,
        held=sum(over.values()) <= max(1, batches // 100),
    )
