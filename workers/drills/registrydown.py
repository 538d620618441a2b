"""The schema registry is away while records of a version come that the worker does not know."""

from __future__ import annotations

import json
from collections.abc import Sequence

from workers.contracts.catalogue import Registered
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import PREFIX
from workers.contracts.schema import parse
from workers.drills.changes import Changes
from workers.drills.ground import AnyBroker
from workers.drills.promises import counted, drained, promises
from workers.drills.registry import DrillRegistry
from workers.drills.report import Check, Question, check
from workers.drills.setup import Setup
from workers.drills.stage import PARTITIONS, Say, Stage
from workers.drills.verify import Outcome
from workers.testing import Sent

TITLE = "the schema registry is away when a new version of the contract comes"
FIELD = "added_by_drill"
NOTE = b"\x02\x0adrill"
"""The new field's bytes: the union's second branch, a string of five bytes."""
EACH = 20
SOON = 60.0


def released(setup: Setup) -> tuple[Registered, Registered]:
    """The next version of the input, with one more optional field, and the output of it."""
    base = setup.entry.schema
    document = json.loads(base.text)
    field = {"name": FIELD, "type": ["null", "string"], "default": None}
    document["fields"] = [*document["fields"], field]
    newer = parse(json.dumps(document), where="the drill's version")
    free = max(entry.id or 0 for entry in setup.catalogue) + 1
    source, output = setup.worker.input.subject, setup.worker.output.subject
    enriched = derive(newer, enrichment_block(), setup.output_fields)
    return (
        Registered(source, _next(setup, source), free, newer),
        Registered(output, _next(setup, output), free + 1, enriched),
    )


def _next(setup: Setup, subject: str) -> int:
    return max(setup.catalogue.versions(subject)) + 1


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    new = released(setup)
    with DrillRegistry(entry for entry in setup.catalogue if entry.id is not None) as registry:
        changes = Changes(
            contracts={"registry": {"url": registry.url, "cache": str(setup.folder / "cache")}},
            catalogue=setup.catalogue.with_more(new),
            said=("the contracts come from a registry of the drill's own",),
        )
        with Stage(setup, broker, say, changes) as stage:
            stage.ready(stage.start())
            stage.send(stage.good(100))
            stage.all_out()
            _outage(stage, registry, new)
            drained(stage)
            promises(stage)
            stage.checks.append(counted(stage))
    return stage


def _outage(stage: Stage, registry: DrillRegistry, new: tuple[Registered, Registered]) -> None:
    process, before = stage.processes[-1], len(stage.outcomes)
    stage.do(
        f"the registry is stopped; in partition 0 come {EACH} records, {EACH} of a new version and "
        f"{EACH} more, in the others {3 * EACH} each"
    )
    registry.stop()
    for partition in range(PARTITIONS):
        own = [
            Sent(each.value, b"of-%d" % partition, timestamp=each.timestamp, partition=partition)
            for each in stage.good(3 * EACH)
        ]
        if partition == 0:
            own[EACH : 2 * EACH] = [_newer(each, new[0]) for each in own[EACH : 2 * EACH]]
        stage.send(own)
    stage.until("partition 0 to be held", lambda: bool(process.said("partition.held", partition=0)))
    stage.until("the worker to miss it", lambda: bool(process.said("contracts.unwell")))
    away = PARTITIONS * 3 * EACH - 2 * EACH
    stage.until("the others to go on", lambda: len(stage.outcomes) - before >= away)
    stage.read(1.0)
    since = stage.outcomes[before:]
    held, unwell = process.said("partition.held"), process.said("contracts.unwell")[0]["reason"]
    stage.checks += [
        only_one_waits(since, away),
        check(
            "the log says which partition waits, for which schema id, and who does not answer",
            f"partition.held, partition {held[0]['partition']}: {held[0]['why']}; "
            f"contracts.unwell: {unwell}",
            Question.SEEN,
            held={line["partition"] for line in held} == {0}
            and f"id {new[0].id}" in held[0]["why"]
            and registry.url in unwell,
        ),
    ]
    stage.do("the new version is registered, with the output derived from it; the registry starts")
    registry.entries += new
    registry.start()
    took = stage.all_out()
    under = [e for e in stage.outcomes if (e.record.value or b"")[:PREFIX] == new[1].frame]
    stage.checks += [
        check(
            "it goes on by itself, without a restart",
            f"all out {took:.1f} s after the registry was back; partition.released "
            f"{'was' if process.said('partition.released', partition=0) else 'was not'} logged",
            Question.FAILURE,
            Question.LATENCY,
            held=took <= SOON and bool(process.said("partition.released", partition=0)),
        ),
        check(
            "the new field reaches subscribers, under the output contract derived for it",
            f"{len(under)} of {EACH} events of the new version are under {new[1]}",
            Question.CONTRACTS,
            held=len(under) == EACH,
        ),
    ]


def only_one_waits(found: Sequence[Outcome], others: int) -> Check:
    """What came out while the registry was away; `others` is what did not need it."""
    dead = sum(each.block is None for each in found)
    return check(
        "only the partition that needs the registry waits; the others go on",
        f"{len(found)} of {others} records came out during the outage, {dead} as dead letters",
        Question.FAILURE,
        Question.CONTRACTS,
        held=len(found) == others and not dead,
    )


def _newer(sent: Sent, entry: Registered) -> Sent:
    """The same event with the new field, which is the last."""
    value = entry.frame + (sent.value or b"")[PREFIX:] + NOTE
    return Sent(value, sent.key, timestamp=sent.timestamp, partition=sent.partition)
