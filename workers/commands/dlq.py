"""`workers dlq`: find, understand and replay what failed."""

from __future__ import annotations

import collections
import getpass
import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.errors import BrokerUnreachable, ExitCode, Retry, TopologyError
from workers.topology import Sequencing, load

if TYPE_CHECKING:
    from workers.deadletters.desk import Desk
    from workers.deadletters.replay import TallyState
    from workers.enrich.batch import Batch
    from workers.stream.ledger import Done
    from workers.stream.letters import Letter, Wanted

app = typer.Typer(no_args_is_help=True, help="Find, understand and replay dead letters.")
DEFAULT_TOPOLOGY = Path("topology.yaml")
EVERY = 1.0
"""Seconds between two lines of progress."""
OUT_OF_ORDER = "Order per key is not kept: later records of a key were published before."
IN_ORDER = "Order per key is kept: a key goes on once all its letters are settled."
_PLACE = re.compile(r"^(?P<topic>.+)\[(?P<partition>\d+)\]@(?P<offset>\d+)$")


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


TopologyFile = Annotated[Path, typer.Option("--topology", "-t", help="The topology file.")]
WorkerName = Annotated[str | None, typer.Option("--worker", "-w", help="Where there are several.")]
Places = Annotated[
    list[str] | None, typer.Argument(help="PARTITION:OFFSET in the dead-letter topic; default all.")
]
Verdicts = Annotated[list[str] | None, typer.Option("--verdict", help="May be repeated.")]
Codes = Annotated[list[str] | None, typer.Option("--code", help="May be repeated.")]
SchemaId = Annotated[int | None, typer.Option("--schema-id", help="As the record named it.")]
Model = Annotated[str | None, typer.Option("--model", help="That scored, or failed.")]
Version = Annotated[str | None, typer.Option("--model-version", help="Of that model.")]
Key = Annotated[str | None, typer.Option("--key", help="The record's key, as text.")]
Partition = Annotated[int | None, typer.Option("--partition", help="Of the input.")]
Since = Annotated[datetime | None, typer.Option("--since", help="Failed then or later; UTC.")]
Until = Annotated[datetime | None, typer.Option("--until", help="Failed before then; UTC.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="Table or JSON lines.")]
All = Annotated[bool, typer.Option("--settled", help="Also what was replayed or resolved.")]
Unmasked = Annotated[
    bool, typer.Option("--unmasked", help="Show content, but for fields tagged sensitive.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; else it is only said.")]
Why = Annotated[str, typer.Option("--why", help="For the ledger; whoever looks later asks.")]
Who = Annotated[str | None, typer.Option("--who", help="Default: the user of this shell.")]


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

    desk = _desk(topology, worker)
    wanted = _wanted(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    ledger, rows = desk.ledger(), list[dict[str, Any]]()
    for letter in _each(desk, wanted):
        if not settled and ledger.settled(letter):
            continue
        if len(rows) == limit:
            print(f"there are more than {limit}: --limit, or a filter", file=sys.stderr)
            break
        rows.append(row(letter, ledger))
    shown = ("place", "failed_at", "origin", "verdict", "code", "why", "attempts", "state")
    _print(rows, shown, output, f"{desk.worker.dead_letter.topic}: {len(rows)} dead letters")


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

    desk = _desk(topology, worker)
    wanted = _wanted(
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
    _print(rows, shown, output, f"{desk.worker.dead_letter.topic}: {whole} dead letters")


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

    desk = _desk(topology, worker)
    resolver = contracts_of(desk.topology, desk.worker)
    resolver.close()
    ledger, found = desk.ledger(), 0
    for letter in _each(desk, _wanted(places)):
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

    desk = _desk(topology, worker)
    batch = _record(desk, place)
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

    desk = _desk(topology, worker)
    wanted = _wanted(
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
            by, told, passed = (who or getpass.getuser(), why), _Progress("replayed"), -1
            while tally.passed > passed:
                passed = tally.passed
                tried = replayer.tried(_each(desk, _wanted()), tally)
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
    _tell(tally, did=yes)
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

    desk = _desk(topology, worker)
    wanted = _wanted(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    done = Done.REOPENED if reopen else Done.RESOLVED
    count = _mark(desk, wanted, done, (who or getpass.getuser(), why), yes=yes)
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

    desk = _desk(topology, worker)
    wanted = _wanted(
        places, verdict, code, schema_id, model, model_version, key, partition, since, until
    )
    part, count = to.with_name(f".{to.name}.part"), 0
    try:
        with part.open("w", encoding="utf-8") as file:
            for letter in _each(desk, wanted):
                count += 1
                told = exported(letter, desk.worker.dead_letter.topic)
                file.write(json.dumps(told, ensure_ascii=False) + "\n")
        part.replace(to)
    except OSError as error:
        raise typer.BadParameter(f"{to}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    print(f"{count:,} dead letters written to {to}")


def _desk(topology: Path, name: str | None) -> Desk:
    from workers.deadletters.desk import Desk
    from workers.stream.logs import configure_logging
    from workers.wiring import pick

    # What the client has to say belongs on standard error.
    configure_logging()
    loaded = load(topology)
    return Desk(loaded, pick(loaded, name), _Progress("read"))


def _each(desk: Desk, wanted: Wanted) -> Iterator[Letter]:
    for letters in desk.letters(wanted):
        yield from letters


def _wanted(  # noqa: PLR0913, PLR0917  one parameter a filter
    places: list[str] | None = None,
    verdict: list[str] | None = None,
    code: list[str] | None = None,
    schema_id: int | None = None,
    model: str | None = None,
    model_version: str | None = None,
    key: str | None = None,
    partition: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Wanted:
    from datetime import UTC

    from workers.errors import Code, Verdict
    from workers.stream.letters import Wanted

    for given, known, what in ((verdict, Verdict, "verdict"), (code, Code, "code")):
        for each in given or ():
            if each not in set(known):
                raise typer.BadParameter(f"--{what} {each}: it is one of {', '.join(known)}")
    for place in places or ():
        if not re.fullmatch(r"\d{1,10}:\d{1,19}", place):
            raise typer.BadParameter(f"{place}: a place is PARTITION:OFFSET, as `list` shows it")
    return Wanted(
        verdicts=tuple(verdict or ()),
        codes=tuple(code or ()),
        schema_id=schema_id,
        model=model,
        model_version=model_version,
        key=None if key is None else key.encode(),
        origin_partition=partition,
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        places=frozenset(places or ()),
    )


def _record(desk: Desk, place: str) -> Batch:
    """The record to probe, as it first came."""
    now = time.time_ns() // 1_000_000
    if (match := _PLACE.match(place)) is None:
        for letter in _each(desk, _wanted([place])):
            try:
                return letter.as_it_came(desk.value(letter), now)
            except (Retry, ValueError) as why:
                raise typer.BadParameter(str(why)) from why
        raise typer.BadParameter(f"no dead letter at {place}")
    from workers.wiring import build_range_reader

    reader, _ = build_range_reader(desk.topology, desk.worker, match["topic"])
    try:
        number, offset = int(match["partition"]), int(match["offset"])
        for batch in reader.read(reader.spans([number], offset, offset + 1)):
            return batch.select([0])
    finally:
        reader.close()
    raise typer.BadParameter(f"no record at {place}")


def _mark(desk: Desk, wanted: Wanted, done: Done, by: tuple[str, str], *, yes: bool) -> int:
    """Write into the ledger what was decided; how many letters it is of."""
    from workers.stream.ledger import Done, entry
    from workers.stream.work import Work
    from workers.wiring import build_replay

    topic, (publisher, _) = desk.ledger_topic(), build_replay(desk.topology, desk.worker)
    try:
        if yes:
            publisher.renew()
        ledger = desk.ledger()
        open_ones = [
            letter
            for letter in _each(desk, wanted)
            if (ledger.settled(letter) is not None) == (done is Done.REOPENED)
        ]
        now = time.time_ns() // 1_000_000
        entries = [entry(letter, done, now, by).record(topic) for letter in open_ones]
        if yes and entries:
            publisher.publish(Work(entries, len(entries), [], None))
    except Retry as unwell:
        raise BrokerUnreachable(f"{unwell}; nothing was written") from unwell
    return len(open_ones)


def _tell(tally: TallyState, *, did: bool) -> None:
    verb = "replayed" if did else "would pass"
    print(f"{tally.passed:,} {verb}; {tally.failed.total():,} fail still")
    for why, count in tally.failed.most_common():
        print(f"  {count:,} {why}")
    for why, count in tally.left_out.most_common():
        print(f"  {count:,} left out: {why}")
    if not did:
        print("Nothing was published: --yes does it.")


def _print(rows: list[dict[str, Any]], shown: tuple[str, ...], output: Output, title: str) -> None:
    if output is Output.JSON:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(*shown, title=title)
    for row in rows:
        table.add_row(*(escape("" if row[name] is None else str(row[name])) for name in shown))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


class _Progress:
    """A line on standard error now and then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._due = time.monotonic() + EVERY

    def __call__(self, count: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY
            print(f"{count:,} {self._what}", file=sys.stderr, flush=True)
