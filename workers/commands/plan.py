"""`workers plan` and `workers apply`: the topology and the contracts against the real cluster."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.errors import ClientHalt, ContractError, ExitCode, Retry, TopologyError
from workers.operate.acls import commands
from workers.operate.plan import Wanted, plan, wanted
from workers.operate.steps import Doer, Kind, Step, as_data, differs
from workers.topology import Feedback, Topology, Worker, load

if TYPE_CHECKING:
    from workers.operate.look import Cluster
    from workers.operate.seen import Seen
    from workers.operate.subjects import SubjectsSeen

WIDTH = 120
LOOKS = 25
"""How often the cluster is looked at until it shows what was done, a fifth of a second apart."""
TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
WorkerArgument = Annotated[
    str | None, typer.Argument(help="Worker's name; all of them where it is left out.")
]
DEFAULT_TOPOLOGY = Path("topology.yaml")
_COLOUR = {Kind.FAULT: "red", Kind.WARNING: "yellow", Kind.NOTE: "dim"}


class PlanOutput(StrEnum):
    """How a plan is printed; the last three are what others apply."""

    TABLE = "table"
    JSON = "json"
    ACLS = "acls"
    STRIMZI = "strimzi"
    HELM = "helm"


def show_plan(
    worker: WorkerArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[
        PlanOutput,
        typer.Option(
            help="Table, JSON, kafka-acls commands, Strimzi's Kubernetes objects, or values for "
            "the chart of deploy/helm."
        ),
    ] = PlanOutput.TABLE,
    strimzi_cluster: Annotated[
        str, typer.Option(help="Name of the Kafka object that Strimzi's objects belong to.")
    ] = "kafka",
) -> None:
    """Say what differs between the topology and the cluster. Reads only.

    Exit code 0: nothing to do; 9: there is something to do. Warnings and notes ask for nothing.
    """
    wants = _wants(topology, worker)
    if output is PlanOutput.ACLS:
        print(commands(wants.topology.broker, wants.identities), end="")
        return
    _, seen = _looked(wants)
    if output is PlanOutput.STRIMZI:
        print(_strimzi(wants, seen, strimzi_cluster), end="")
        return
    if output is PlanOutput.HELM:
        print(_helm(wants, seen), end="")
        return
    with opened_registry(wants) as registry:
        steps = plan(wants, seen, registry)
    _print(steps, output)
    raise typer.Exit(_code(steps))


def apply_plan(
    worker: WorkerArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else the plan is shown.")] = False,
    allow_partitions: Annotated[
        bool, typer.Option("--allow-partitions", help="Add partitions too, which moves keys.")
    ] = False,
    allow_removal: Annotated[
        bool,
        typer.Option(
            "--allow-removal", help="Shorten retention or compact too, which removes records."
        ),
    ] = False,
) -> None:
    """Create the topics that workers write to, and bring their settings back.

    Deletes no topic, never touches an input; shows what is left. Exit codes as of `workers plan`.
    """
    from workers.operate.apply import apply, doable

    wants = _wants(topology, worker)
    cluster, seen = _looked(wants)
    with opened_registry(wants) as registry:
        steps = plan(wants, seen, registry)
    flags = {Doer.APPLY_PARTITIONS: allow_partitions, Doer.APPLY_REMOVAL: allow_removal}
    todo = doable(steps, [doer for doer, allowed in flags.items() if allowed])
    if yes and todo:
        for done in apply(cluster, todo):
            print(": ".join(filter(None, ("done", done.kind.value, done.target, done.setting))))
        with opened_registry(wants) as registry:
            steps = _left(wants, registry, todo)
    _print(steps, PlanOutput.TABLE)
    if todo and not yes:
        print(f"Nothing was changed: {len(todo)} steps wait for `workers apply --yes`.")
    raise typer.Exit(_code(steps))


def _wants(path: Path, name: str | None) -> Wanted:
    loaded = load(path)
    workers = _picked(loaded, name)
    loops = [loop for loop in loaded.feedback.values() if loop.worker in {w.name for w in workers}]
    return wants_of(loaded, workers, loops)


def wants_of(
    topology: Topology, workers: Iterable[Worker], loops: Iterable[Feedback] = ()
) -> Wanted:
    """What these want, with the contracts of the topology's directory, if it has one."""
    from workers.contracts.directory import read_directory

    directory = topology.contracts.directory
    contracts = read_directory(directory) if directory is not None else None
    return wanted(topology, workers, contracts, loops)


def _picked(topology: Topology, name: str | None) -> tuple[Worker, ...]:
    if name is None:
        return tuple(topology.workers.values())
    if name not in topology.workers:
        raise TopologyError(f"no worker {name}; topology.yaml has {', '.join(topology.workers)}")
    return (topology.workers[name],)


def _looked(wants: Wanted) -> tuple[Cluster, Seen]:
    from workers.operate.look import connect, look
    from workers.stream.logs import configure_logging

    configure_logging()
    cluster = connect(wants.topology.broker, "workers.plan")
    return cluster, look(cluster, wants.workers, wants.topic_names)


def _left(wants: Wanted, registry: SubjectsSeen | None, done: list[Step]) -> list[Step]:
    """The plan after `done`: brokers learn of a change a moment after it is made."""
    pause = threading.Event()
    steps: list[Step] = []
    for _ in range(LOOKS):
        steps = plan(wants, _looked(wants)[1], registry)
        if not set(done) & set(steps):
            break
        pause.wait(0.2)
    return steps


@contextmanager
def opened_registry(wants: Wanted) -> Iterator[SubjectsSeen | None]:
    """What the registry has, where the topology names one."""
    from workers.contracts.sources import registry_source
    from workers.operate.subjects import RegistrySeen

    place = wants.topology.contracts.registry
    if place is None:
        yield None
        return
    source = registry_source(place)
    try:
        yield RegistrySeen(source)
    except Retry as unwell:
        raise ContractError(str(unwell)) from unwell
    finally:
        source.close()


def _strimzi(wants: Wanted, seen: Seen, cluster: str) -> str:
    from workers.operate.acls import by_principal
    from workers.operate.strimzi import documents, kafka_topic, kafka_user
    from workers.operate.topics import made

    objects: list[dict[str, Any]] = []
    for topic in wants.written:
        found = made(topic, wants.topics, seen)
        if found is None:
            raise ClientHalt(
                f"the size of topic {topic.name} follows {topic.reads}, which is not there; write "
                "partitions and replication_factor in its `settings`"
            )
        objects.append(kafka_topic(found, cluster))
    broker = wants.topology.broker
    users = (kafka_user(broker, one, cluster) for one in by_principal(wants.identities))
    return documents([*objects, *users])


def _helm(wants: Wanted, seen: Seen) -> str:
    from workers.operate.helm import values
    from workers.operate.strimzi import documents
    from workers.operate.topics import sizes

    if len(wants.workers) != 1:
        raise TopologyError("a release of the chart runs one worker: name it")
    worker = wants.workers[0]
    found = sizes(worker.input.topic, wants.topics, seen)
    if found is None:
        raise ClientHalt(f"topic {worker.input.topic} is not there: replicas follow its partitions")
    return documents([values(wants.topology.broker, worker, found[0])])


def _code(steps: Iterable[Step]) -> int:
    return int(ExitCode.DIFFERS if differs(steps) else ExitCode.OK)


def _print(steps: list[Step], output: PlanOutput) -> None:
    if output is PlanOutput.JSON:
        print(json.dumps({"differs": differs(steps), "steps": as_data(steps)}, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if steps:
        table = Table(title="plan", title_justify="left", show_lines=True)
        for title in ("what", "of", "now → wanted", "why, risk, remedy", "who"):
            table.add_column(title, overflow="fold")
        for step in steps:
            table.add_row(*map(escape, _cells(step)), style=_COLOUR.get(step.kind))
        console.print(table)
    counts = Counter(step.doer for step in steps)
    to_do = [f"{counts[doer]} for {doer.value}" for doer in Doer if doer.value and counts[doer]]
    print(f"{', '.join(to_do) or 'nothing to do'}; {counts[Doer.NOBODY]} to know")


def _cells(step: Step) -> tuple[str, str, str, str, str]:
    change = ""
    if step.wanted is not None:
        change = f"{'none' if step.current is None else step.current} → {step.wanted}"
    elif step.current is not None:
        change = step.current
    # A command that is folded into a column cannot be copied.
    remedy = "workers plan --output acls" if step.kind is Kind.ADD_ACL else step.remedy
    parts = (step.why, step.risk and f"risk: {step.risk}", remedy and f"do: {remedy}")
    about = "\n".join(filter(None, (step.target, step.setting)))
    return step.kind.value, about, change, "\n".join(filter(None, parts)), step.doer.value
