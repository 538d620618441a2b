"""`workers feedback`: decisions and their outcomes become the next model."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from workers.commands.feedback_common import (
    DEFAULT_TOPOLOGY,
    LoopArgument,
    Output,
    TopologyFile,
    as_json,
    ended_by_sigterm,
    instant,
    reported_run,
)
from workers.topology import load

app = typer.Typer(no_args_is_help=True, help="From decisions and outcomes to the next model.")
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="What was known at this instant; default: now.")
]


@app.command(epilog="Example: workers feedback collect flights")
def collect(
    loop: LoopArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on where retention took records; noted.")
    ] = False,
    output: Annotated[Output, typer.Option(help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Bring the lake up to what is committed on the topics now. Each record becomes a row once.

    Killed at any instant, run again: nothing is lost, nothing is there twice.
    """
    from workers.feedback.collect import Collector
    from workers.feedback.opening import open_loop, sources
    from workers.stream.clock import SystemClock

    found, clock = open_loop(load(topology), loop), SystemClock()
    with ended_by_sigterm(), sources(found, clock) as opened:
        state = Collector(found.feedback, found.log, clock).collect(opened, accept_loss=accept_loss)
    newest = found.log.newest()
    if output is Output.JSON:
        print(as_json({**asdict(state), "commit": newest.number}))
        return
    rows = ", ".join(f"{count:,} {table}" for table, count in sorted(state.rows.items()))
    print(f"{rows or 'nothing new'}; commit {newest.number} in {found.log.place.name}")
    if state.unreadable:
        print(f"{state.unreadable:,} records were no events of their contract: {newest.unreadable}")
    if state.lost:
        print(f"{state.lost:,} offsets were gone before they could be collected")


@app.command(epilog="Example: workers feedback compact flights --keep 20")
def compact(
    loop: LoopArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep so many commits, and remove files that none of them names. Only while "
            "nobody collects.",
        ),
    ] = None,
) -> None:
    """Write the files of each day as one. What is read of them stays the same.

    Delta tables, where they are declared, follow before a file is removed.
    """
    from workers.feedback.collect import nowhere
    from workers.feedback.lake.compact import clean
    from workers.feedback.lake.compact import compact as compacted
    from workers.feedback.lake.delta.mirror import mirror
    from workers.feedback.opening import open_loop

    found = open_loop(load(topology), loop)
    made = compacted(found.log, datetime.datetime.now(datetime.UTC), nowhere)
    lake = found.feedback.lake
    mirrored = mirror(found.log, lake, nowhere) if lake.delta else []
    removed = clean(found.log, keep) if keep is not None else 0
    print(f"{made.before} files before, {made.after} after; {removed} removed")
    for table in mirrored:
        print(table)


@app.command(epilog="Example: workers feedback delta flights")
def delta(
    loop: LoopArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Bring the Delta tables of a lake with `delta: true` up to its newest commit.

    `compact` and `run` do it too. Killed at any instant, run again: it does what is missing.
    """
    from workers.errors import TopologyError
    from workers.feedback.collect import nowhere
    from workers.feedback.lake.delta.mirror import mirror
    from workers.feedback.opening import open_loop

    found = open_loop(load(topology), loop)
    if not found.feedback.lake.delta:
        # A log that nobody keeps would name files that cleaning has removed.
        raise TopologyError(f"feedback.{found.feedback.name}.lake: write `delta: true` first")
    made = mirror(found.log, found.feedback.lake, nowhere)
    if output is Output.JSON:
        print(as_json({"tables": [asdict(table) for table in made]}))
        return
    for table in made:
        print(table)
    if not made:
        print("nothing is collected yet")


@app.command(
    epilog="Example: workers feedback dataset flights --since 2013-01-01 --output d.parquet"
)
def dataset(  # noqa: PLR0913  what a dataset is of
    loop: LoopArgument = None,
    *,
    output: Annotated[Path, typer.Option(help="Parquet file, written whole.")],
    since: Annotated[str | None, typer.Option(help="First event; default: all.")] = None,
    until: Annotated[str | None, typer.Option(help="Events before; default: `as-of`.")] = None,
    as_of: AsOf = None,
    commit: Annotated[
        int | None, typer.Option(help="A commit of the lake; default: the newest.")
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Join decisions with their outcomes as they were known at one instant, into one file.

    A row a decision: its logged features, what was decided, and `outcome`: known (then `label` is
    what happened), pending (it may still come) or absent (it has not come in time).
    """
    from workers.feedback.dataset import Joiner, Window, write_dataset
    from workers.feedback.opening import open_loop

    found = open_loop(load(topology), loop)
    now = instant(as_of) or datetime.datetime.now(datetime.UTC)
    window = Window(
        instant(since) or datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        instant(until) or now,
        now,
    )
    chosen = found.log.newest() if commit is None else found.log.read(commit)
    joiner = Joiner(found.log.place, chosen, found.feedback, found.model.name)
    state = write_dataset(joiner, window, output)
    print(as_json({**asdict(state), "commit": chosen.number, "as_of": now}))


@app.command(
    epilog="Example: workers feedback report flights --since 2013-04-01 --html report.html"
)
def report(  # noqa: PLR0913  what a report is of, and where it goes
    loop: LoopArgument = None,
    *,
    since: Annotated[str | None, typer.Option(help="First event; default: all.")] = None,
    until: Annotated[str | None, typer.Option(help="Events before; default: `as-of`.")] = None,
    as_of: AsOf = None,
    html: Annotated[Path | None, typer.Option(help="Write the page there.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="Write the figures there, as a textfile of Prometheus."),
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """How good decisions were, by version, month and segment: JSON, and one page of HTML."""
    from workers.feedback.dataset import Window
    from workers.feedback.opening import open_loop
    from workers.feedback.page import render
    from workers.feedback.report import report as reported
    from workers.feedback.telling import textfile
    from workers.offline.files import whole

    found = open_loop(load(topology), loop)
    now = instant(as_of) or datetime.datetime.now(datetime.UTC)
    first = instant(since) or datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    document = reported(found, Window(first, instant(until) or now, now))
    if html is not None:
        with whole(html) as made:
            made.write_text(render(document))
    if metrics is not None:
        with whole(metrics) as made:
            made.write_text(textfile(found, document))
    print(as_json(document))


@app.command(epilog="Example: workers feedback retrain flights --as-of 2013-04-01")
def retrain(
    loop: LoopArgument = None,
    *,
    as_of: AsOf = None,
    like: Annotated[
        str | None, typer.Option(help="Version whose features are used; default: the champion.")
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Train the next version on labelled decisions; it serves nobody until it is promoted.

    The same lake, settings and instant make the same version, once.
    """
    from workers.feedback.learning.retrain import retrain as retrained
    from workers.feedback.opening import open_loop

    found = open_loop(load(topology), loop)
    made = retrained(found, instant(as_of) or datetime.datetime.now(datetime.UTC), like)
    print(as_json(asdict(made)))


@app.command(epilog="Example: workers feedback gate flights 2")
def gate(
    loop: Annotated[str, typer.Argument(help="The loop's name.")],
    version: Annotated[str, typer.Argument(help="The challenger.")],
    *,
    as_of: AsOf = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Hold a version to the gate; a verdict for each rule. Exit code 5 where it stays shut."""
    from workers.feedback.gate import gate as judged
    from workers.feedback.opening import open_loop

    found = open_loop(load(topology), loop)
    verdict = judged(found, version, instant(as_of) or datetime.datetime.now(datetime.UTC))
    if output is Output.JSON:
        print(as_json({**asdict(verdict), "passed": verdict.passed}))
    else:
        print(verdict)
    verdict.hold()


@app.command(epilog="Example: workers feedback run flights")
def run(  # noqa: PLR0913  what a timer says
    loop: LoopArgument = None,
    *,
    as_of: AsOf = None,
    html: Annotated[Path | None, typer.Option(help="Write the report there afterwards.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="Write its figures there, as a textfile of Prometheus."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="As of `compact`. Only where nothing else collects."),
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, help="Seconds to wait for another run, or one that was killed.")
    ] = 0,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """The whole loop, once: for a timer, such as a CronJob. A run that was killed is taken up.

    Collect, compact and, where that is declared, mirror; move a canary on or take it back, take
    back a champion that decays; train when it is due, hold the result to the gate and, where that
    is declared, begin its canary. Then the report's figures go to the topology's collector, where
    there is one.
    """
    from workers.feedback.collect import CollectedState, Collector
    from workers.feedback.lake.place import LakeFault
    from workers.feedback.opening import open_loop, sources
    from workers.feedback.run import Runner
    from workers.stream.clock import SystemClock

    found, clock = open_loop(load(topology), loop), SystemClock()

    def collected() -> CollectedState:
        with sources(found, clock) as opened:
            return Collector(found.feedback, found.log, clock).collect(opened)

    now = instant(as_of) or datetime.datetime.now(datetime.UTC)
    with ended_by_sigterm():
        ran = Runner(found, clock, collected, keep=keep, wait=wait).run(now)
        told = reported_run(found, ran.as_of, clock, html, metrics)
    print(as_json({**asdict(ran), "steps": {**ran.steps, **told}}))
    if ran.fault:
        raise LakeFault(ran.fault)
