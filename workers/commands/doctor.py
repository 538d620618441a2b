"""`workers doctor`: everything a worker needs, looked at from where it is to run."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.commands.operate import (
    DEFAULT_TOPOLOGY,
    Output,
    OutputOption,
    TopologyFile,
    WorkerArgument,
)
from workers.errors import ExitCode, Halt, Retry
from workers.operate.doctor.findings import Check, Finding, Severity, as_data, worst_first
from workers.topology import Topology, Worker, load, user_cache, user_folder

if TYPE_CHECKING:
    from workers.operate.look import Cluster

_COLOUR = {
    Severity.FAULT: "red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "dim",
    Severity.OK: "green",
}


def doctor(
    worker: WorkerArgument = None,
    *,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=256, help="That are to run here.")
    ] = 1,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no broker.")] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Look at everything a worker needs and say what is wrong, and what to do. Changes nothing.

    Exit code 0: no fault; 9: at least one. Warnings and notes are no fault.
    """
    from workers.stream.logs import configure_logging
    from workers.wiring import pick

    configure_logging()
    loaded = load(topology)
    picked = pick(loaded, worker)
    found = worst_first(_examined(loaded, picked, processes, offline=offline))
    faults = sum(finding.severity is Severity.FAULT for finding in found)
    if output is Output.JSON:
        print(json.dumps({"faults": faults, "findings": as_data(found)}, indent=2))
    else:
        _print(found, picked)
    raise typer.Exit(int(ExitCode.DIFFERS if faults else ExitCode.OK))


def _print(found: list[Finding], worker: Worker) -> None:
    table = Table(title=f"worker {worker.name}", title_justify="left", show_lines=True)
    for title in ("", "check", "where", "what, and what to do"):
        table.add_column(title, overflow="fold")
    for each in found:
        told = each.what + (f"\ndo: {each.remedy}" if each.remedy else "")
        cells = (each.severity.value, each.check.value, each.where, told)
        table.add_row(*map(escape, cells), style=_COLOUR[each.severity])
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    counts = {s: sum(each.severity is s for each in found) for s in Severity}
    print(", ".join(f"{count} {severity.value}" for severity, count in counts.items()))


def _examined(
    topology: Topology, worker: Worker, processes: int, *, offline: bool
) -> Iterator[Finding]:
    from workers.operate.doctor.clocks import against_server, servers
    from workers.operate.doctor.combinations import combinations
    from workers.operate.doctor.host import folders, limits, this_host
    from workers.stream.clock import SystemClock

    yield from combinations(topology, worker)
    yield from folders(_places(topology))
    yield from _contracts_and_model(topology, worker)
    for name, url in servers(topology).items():
        yield from against_server(name, url, SystemClock().now() / 1000)
    brokers = 1
    if not offline:
        cluster = yield from _connection(topology)
        if cluster is not None:
            brokers = len(cluster.metadata.brokers)
            yield from _cluster(topology, worker, cluster)
    yield from limits(this_host(), worker, brokers, processes)


def _places(topology: Topology) -> dict[str, Path]:
    found = {"state": topology.state or user_folder("state")}
    if topology.contracts.registry is not None:
        found["contracts.registry.cache"] = topology.contracts.registry.cache or user_cache()
    if topology.models.cache is not None:
        found["models.cache"] = topology.models.cache
    return found


def _contracts_and_model(topology: Topology, worker: Worker) -> Iterator[Finding]:
    from workers.wiring import build_enricher, contracts_of

    where = f"worker {worker.name}"
    try:
        resolver = contracts_of(topology, worker)
        resolver.close()
    except (Halt, Retry) as error:
        remedy = "`workers contracts lint` and `workers plan` say more"
        yield Finding(Check.CONTRACTS, Severity.FAULT, where, str(error), remedy)
        return
    said = ", ".join(str(entry) for entry in resolver.catalogue)
    yield Finding(Check.CONTRACTS, Severity.OK, where, said)
    try:
        model = build_enricher(topology, worker).model
    except (Halt, Retry) as error:
        remedy = "`workers models list` says what there is, `workers models check` what fails"
        yield Finding(Check.MODEL, Severity.FAULT, where, str(error), remedy)
        return
    said = f"{model.manifest.name} version {model.manifest.version}, golden rows reproduced"
    yield Finding(Check.MODEL, Severity.OK, where, said)
    if model.not_compiled is not None:
        text = f"is not compiled: {model.not_compiled}"
        yield Finding(Check.MODEL, Severity.WARNING, where, text, "see docs/inference.md")


def _connection(topology: Topology) -> Generator[Finding, None, Cluster | None]:
    """Addresses, TLS, a client; returns the cluster where one let us in."""
    from workers.operate.doctor.cluster import connected
    from workers.operate.doctor.reach import bootstrap, own_certificate, reached

    broker, now = topology.broker, datetime.now(UTC)
    yield from own_certificate(broker, now)
    named = bootstrap(broker)
    ways = list(reached(broker, named, "bootstrap", now))
    yield from ways
    if not any(way.severity is Severity.OK for way in ways):
        # Nothing listens: the client would only take its time to say the same.
        return None
    cluster, said = connected(broker)
    yield said
    if cluster is not None:
        told = [(str(known.host), known.port) for known in cluster.metadata.brokers.values()]
        yield from reached(broker, set(told) - set(named), "advertised", now)
    return cluster


def _cluster(topology: Topology, worker: Worker, cluster: Cluster) -> Iterator[Finding]:
    from workers.commands.plan import opened_registry, wants_of
    from workers.errors import ContractError
    from workers.operate.doctor.cluster import group, planned
    from workers.stream.clock import SystemClock

    try:
        wants = wants_of(topology, (worker,))
        with opened_registry(wants) as registry:
            yield from planned(wants, cluster, registry)
    except ContractError as error:
        yield Finding(Check.CONTRACTS, Severity.FAULT, "registry", str(error))
    yield from group(topology.broker, worker, cluster, SystemClock())
