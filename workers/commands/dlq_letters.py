"""What the commands of `workers dlq` do alike: read letters, settle them, print."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.commands.dlq_options import Output, wanted_of
from workers.errors import BrokerUnreachable, Retry
from workers.topology import load

if TYPE_CHECKING:
    from workers.deadletters.desk import Desk
    from workers.deadletters.replay import TallyState
    from workers.enrich.batch import Batch
    from workers.stream.ledger import Done
    from workers.stream.letters import Letter, Wanted

EVERY = 1.0
"""Seconds between two lines of progress."""
_PLACE = re.compile(r"^(?P<topic>.+)\[(?P<partition>\d+)\]@(?P<offset>\d+)$")


def desk_of(topology: Path, name: str | None) -> Desk:
    """The dead letters of a worker."""
    from workers.deadletters.desk import Desk
    from workers.stream.logs import configure_logging
    from workers.wiring import pick

    # What the client has to say belongs on standard error.
    configure_logging()
    loaded = load(topology)
    return Desk(loaded, pick(loaded, name), Progress("read"))


def each(desk: Desk, wanted: Wanted) -> Iterator[Letter]:
    """Those that are wanted."""
    for letters in desk.letters(wanted):
        yield from letters


def record_at(desk: Desk, place: str) -> Batch:
    """The record to probe, as it first came."""
    now = time.time_ns() // 1_000_000
    if (match := _PLACE.match(place)) is None:
        for letter in each(desk, wanted_of([place])):
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


def mark(desk: Desk, wanted: Wanted, done: Done, by: tuple[str, str], *, yes: bool) -> int:
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
            for letter in each(desk, wanted)
            if (ledger.settled(letter) is not None) == (done is Done.REOPENED)
        ]
        now = time.time_ns() // 1_000_000
        entries = [entry(letter, done, now, by).record(topic) for letter in open_ones]
        if yes and entries:
            publisher.publish(Work(entries, len(entries), [], None))
    except Retry as unwell:
        raise BrokerUnreachable(f"{unwell}; nothing was written") from unwell
    return len(open_ones)


def tell(tally: TallyState, *, did: bool) -> None:
    """What became of a replay's letters, or would."""
    verb = "replayed" if did else "would pass"
    print(f"{tally.passed:,} {verb}; {tally.failed.total():,} fail still")
    for why, count in tally.failed.most_common():
        print(f"  {count:,} {why}")
    for why, count in tally.left_out.most_common():
        print(f"  {count:,} left out: {why}")
    if not did:
        print("Nothing was published: --yes does it.")


def print_rows(
    rows: list[dict[str, Any]], shown: tuple[str, ...], output: Output, title: str
) -> None:
    """Rows, as a table of the columns that are shown, or whole as JSON lines."""
    if output is Output.JSON:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(*shown, title=title)
    for row in rows:
        table.add_row(*(escape("" if row[name] is None else str(row[name])) for name in shown))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


class Progress:
    """A line on standard error now and then."""

    def __init__(self, what: str) -> None:
        """`what` became of those that are counted."""
        self._what = what
        self._due = time.monotonic() + EVERY

    def __call__(self, count: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY
            print(f"{count:,} {self._what}", file=sys.stderr, flush=True)
