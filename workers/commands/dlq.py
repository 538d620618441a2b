"""`workers dlq`: find, understand and replay what failed."""

from __future__ import annotations

import collections
import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.commands.dlq_letters import Progress, desk_of, each, mark, print_rows, record_at, tell
from workers.commands.dlq_options import (
    DEFAULT_TOPOLOGY,
    All,
    Codes,
    Format,
    Key,
    Model,
    Output,
    Partition,
    Places,
    SchemaId,
    Since,
    TopologyFile,
    Unmasked,
    Until,
    Verdicts,
    Version,
    Who,
    Why,
    WorkerName,
    Yes,
    wanted_of,
)
from workers.errors import BrokerUnreachable, ExitCode, Retry, TopologyError
from workers.topology import Sequencing

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, help="Find, understand and replay dead letters.")
OUT_OF_ORDER = "Order per key is not kept: later records of a key were published before."
IN_ORDER = "Order per key is kept: a key goes on once all its letters are settled."


@app.command("list", epilog="Example: workers dlq list --verdict contract --since 2026-11-24")
def list_(  # noqa: PLR0913  one parameter an option
    places: Places = None,
    *,
    worker: WorkerName = None,
    verdict: Verdicts = None,
    code: Codes = None,
    schema_id: SchemaId = None,
    model: Model = None,
    model_version: Version = None,
    key: Key = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Lines at most.")] = 50,
    settled: All = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Format = Output.TABLE,
) -> None:
    """Show dead letters, a line each; no content."""
    from workers.deadletters.summary import row

    desk = desk_of(topology, worker)
    wanted = wanted_of(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    ledger, rows = desk.ledger(), list[dict[str, Any]]()
    for letter in each(desk, wanted):
        if not settled and ledger.settled(letter):
            continue
        if len(rows) == limit:
            print(f"there are more than {limit}: --limit, or a filter", file=sys.stderr)
            break
        rows.append(row(letter, ledger))
    shown = ("place", "failed_at", "origin", "verdict", "code", "why", "attempts", "state")
    print_rows(rows, shown, output, f"{desk.worker.dead_letter.topic}: {len(rows)} dead letters")


@app.command(epilog="Example: workers dlq stats --since 2026-11-24")
def stats(  # noqa: PLR0913  one parameter an option
    *,
    worker: WorkerName = None,
    verdict: Verdicts = None,
    code: Codes = None,
    schema_id: SchemaId = None,
    model: Model = None,
    model_version: Version = None,
    key: Key = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Format = Output.TABLE,
) -> None:
    """Group dead letters by cause: the reason without its numbers."""
    from workers.deadletters.summary import groups, when

    desk = desk_of(topology, worker)
    wanted = wanted_of(
        None, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    rows: list[dict[str, Any]] = [
        {
            "count": group.count,
            "settled": group.settled,
            "cause": group.cause,
            "first": when(group.first),
            "last": when(group.last),
            "model_versions": sorted(group.models or ()),
            "example": group.example,
        }
        for group in groups(desk.letters(wanted), desk.ledger())
    ]
    whole = sum(row["count"] for row in rows)
    shown = ("count", "settled", "cause", "first", "last", "example")
    print_rows(rows, shown, output, f"{desk.worker.dead_letter.topic}: {whole} dead letters")


@app.command(epilog="Example: workers dlq show 0:17 --unmasked")
def show(
    places: Annotated[list[str], typer.Argument(help="PARTITION:OFFSET in the dead-letter topic.")],
    *,
    worker: WorkerName = None,
    unmasked: Unmasked = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Show dead letters whole, decoded where that is possible: JSON, masked unless asked for."""
    from workers.deadletters.summary import details
    from workers.wiring import contracts_of

    desk = desk_of(topology, worker)
    resolver = contracts_of(desk.topology, desk.worker)
    resolver.close()
    ledger, found = desk.ledger(), 0
    for letter in each(desk, wanted_of(places)):
        found += 1
        try:
            value = desk.value(letter)
        except Retry as why:
            print(f"{letter.place}: {why}", file=sys.stderr)
            value = letter.value
        told = details(letter, value, resolver.catalogue, ledger, content=unmasked)
        print(json.dumps(told, indent=2, ensure_ascii=False))
    if found < len(set(places)):
        raise typer.BadParameter(f"{len(set(places)) - found} of these places hold no dead letter")


@app.command(epilog="Example: workers dlq probe 'flights[3]@1200'")
def probe(
    place: Annotated[
        str,
        typer.Argument(help="PARTITION:OFFSET of a dead letter, or TOPIC[PARTITION]@OFFSET."),
    ],
    *,
    worker: WorkerName = None,
    unmasked: Unmasked = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Run one record through the real path, stage by stage, with no side effect.

    The last line printed is where it ends, also where it ends this process. Exit code 0 where it
    passes, 9 where it would be a dead letter.
    """
    from workers.deadletters.probe import Mark
    from workers.deadletters.probe import probe as stages
    from workers.wiring import build_path

    desk = desk_of(topology, worker)
    batch = record_at(desk, place)
    last = Mark.PASSED
    with build_path(desk.topology, desk.worker) as path:
        for stage in stages(path, batch, content=unmasked):
            print(f"{stage.mark.value:4} {stage.name}: {stage.text}", flush=True)
            last = stage.mark
    raise typer.Exit(int(ExitCode.DIFFERS if last is Mark.FAILED else ExitCode.OK))


@app.command(epilog="Example: workers dlq replay --code unknown_schema --why 'released' --yes")
def replay(  # noqa: PLR0913  one parameter an option
    places: Places = None,
    *,
    why: Why,
    worker: WorkerName = None,
    verdict: Verdicts = None,
    code: Codes = None,
    schema_id: SchemaId = None,
    model: Model = None,
    model_version: Version = None,
    key: Key = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    transform: Annotated[
        str | None, typer.Option(help="Repair each record first; named in the topology.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Dead letters a second at most.")
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Of one letter, over all replays.")] = 3,
    who: Who = None,
    yes: Yes = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Try dead letters against today's contracts and model; publish those that pass.

    To this worker's outputs alone, exactly once; run it again where it was cut short. The order of
    a key is not kept, unless the worker has `sequence: key`.
    """
    from workers.deadletters.replay import Replayer, TallyState, publish
    from workers.deadletters.transforms import compiled
    from workers.wiring import build_path, build_replay

    desk = desk_of(topology, worker)
    wanted = wanted_of(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    repair = None
    if transform is not None:
        if transform not in desk.topology.transforms:
            known = ", ".join(desk.topology.transforms) or "none"
            raise TopologyError(f"transforms has no {transform}; it has {known}")
        repair = compiled(transform, desk.topology.transforms[transform])
    publisher, outgoing = build_replay(desk.topology, desk.worker)
    ledger_topic, tally = desk.ledger_topic(), TallyState()
    with build_path(desk.topology, desk.worker) as path:
        try:
            if yes:
                # First: it ends what an earlier replay left open, so that the ledger is whole.
                publisher.renew()
            ledger = desk.ledger()
            replayer = Replayer(
                desk, path, outgoing, ledger, wanted=wanted, attempts=attempts, repair=repair
            )
            by, told, passed = (who or getpass.getuser(), why), Progress("replayed"), -1
            while tally.passed > passed:
                passed = tally.passed
                tried = replayer.tried(each(desk, wanted_of()), tally)
                if not yes:
                    collections.deque(tried, maxlen=0)
                    break
                publish(tried, publisher, ledger_topic, by, rate=rate, told=told)
                if desk.worker.sequence is Sequencing.NONE:
                    break
                # What was parked meanwhile is next: the key goes on when there is none.
                replayer.take(desk.ledger())
        except Retry as unwell:
            raise BrokerUnreachable(f"{unwell}; run it again, what is done stays done") from unwell
    tell(tally, did=yes)
    print(IN_ORDER if desk.worker.sequence is Sequencing.KEY else OUT_OF_ORDER)


@app.command(epilog="Example: workers dlq resolve --code tombstone --why 'meant so' --yes")
def resolve(  # noqa: PLR0913  one parameter an option
    places: Places = None,
    *,
    why: Why,
    worker: WorkerName = None,
    verdict: Verdicts = None,
    code: Codes = None,
    schema_id: SchemaId = None,
    model: Model = None,
    model_version: Version = None,
    key: Key = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    reopen: Annotated[bool, typer.Option("--reopen", help="The other way round.")] = False,
    who: Who = None,
    yes: Yes = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Say that nothing is left to do about dead letters; nothing is removed."""
    from workers.stream.ledger import Done

    desk = desk_of(topology, worker)
    wanted = wanted_of(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    done = Done.REOPENED if reopen else Done.RESOLVED
    count = mark(desk, wanted, done, (who or getpass.getuser(), why), yes=yes)
    print(f"{count:,} {done.value}" if yes else f"{count:,} would be {done.value}: --yes does it")


@app.command(epilog="Example: workers dlq export --verdict decode --to bad.jsonl")
def export(  # noqa: PLR0913  one parameter an option
    places: Places = None,
    *,
    to: Annotated[Path, typer.Option(help="JSON lines; every byte in Base64. Not masked.")],
    worker: WorkerName = None,
    verdict: Verdicts = None,
    code: Codes = None,
    schema_id: SchemaId = None,
    model: Model = None,
    model_version: Version = None,
    key: Key = None,
    partition: Partition = None,
    since: Since = None,
    until: Until = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Write dead letters into a file, byte for byte as they lie in the topic."""
    from workers.deadletters.summary import exported

    desk = desk_of(topology, worker)
    wanted = wanted_of(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    part, count = to.with_name(f".{to.name}.part"), 0
    try:
        with part.open("w", encoding="utf-8") as file:
            for letter in each(desk, wanted):
                count += 1
                told = exported(letter, desk.worker.dead_letter.topic)
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
        part.replace(to)
    except OSError as error:
        raise typer.BadParameter(f"{to}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    print(f"{count:,} dead letters written to {to}")
