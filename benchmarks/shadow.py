"""What a challenger beside the champion costs: its worker, by stage and by thread; its process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Producer

from benchmarks.bundles import NAME, boosters, flights_schema, promoted, store_of
from benchmarks.environments import worker
from benchmarks.latency import SECONDS
from benchmarks.rig import (
    PARTITIONS,
    ROOT,
    TICKS,
    Ends,
    cpu_seconds,
    fill,
    framed_flights,
    running,
)
from workers.contracts.comparison import comparison_contract
from workers.contracts.directory import read_directory
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.models.shadow.challenger import challenger
from workers.models.shadow.comparison import Recorder, count, opinion
from workers.models.shadow.counts import CountsState
from workers.models.shadow.process import COMMAND, Child
from workers.models.shadow.shadow import THREAD
from workers.models.store import Store
from workers.stream.shadowing import offered
from workers.testing import RealKafka
from workers.topology import load
from workers.wiring import pick, policy_of

RATE = 10_000
SHADOW = "shadow: {{topic: {output}.comparisons, subject: flights.comparisons-value, share: %s}}"
SHARES = {"without": 0.0, "a tenth": 0.1, "all": 1.0}
TURNS = 3
START_SECONDS = 20
STILL_SECONDS = 3.0
WARM_EVENTS = 500
WARM_TRIES = 120
BATCH = 4_000
ROUNDS = 40
PREDICTION, PROCESS = "its prediction alone", "its process, all of it"
Found = TypeVar("Found")
Ticks = dict[int, tuple[str, float]]
"""By thread: its name, and its CPU seconds."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds an event, at a fixed rate, in the median of the turns.

    `worker`: the whole process of the worker; `thread`: of that the shadow's own thread, and those
    of its client; `child`: the challenger's process. `compared`: share of the
    events that is in the topic of comparisons.
    """

    worker: float
    thread: float
    child: float
    compared: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one model: by stage in whole batches, and by share at a fixed rate."""

    stages: dict[str, float]
    shares: dict[str, Cost]


def shadow(kafka: RealKafka, values: list[bytes], folder: Path, turns: int) -> dict[str, Costs]:
    """By model. The worker is exactly once; the shares take turns."""
    found = {}
    for number, (name, text) in enumerate(boosters().items()):
        store = store_of(folder / name.replace(" ", "-"), text)
        promoted(store, "2", "challenger")
        stages = in_batches(kafka, values, store.bundle(NAME, "2"), f"comparisons.{number}")
        costs: dict[str, list[Cost]] = {share: [] for share in SHARES}
        for _ in range(turns):
            for share in SHARES:
                costs[share].append(at_a_rate(kafka, store, SHARES[share]))
        found[name] = Costs(stages, {share: _median(seen) for share, seen in costs.items()})
    return found


def _median(costs: list[Cost]) -> Cost:
    def of(name: str) -> float:
        return float(statistics.median(getattr(cost, name) for cost in costs))

    return Cost(of("worker"), of("thread"), of("child"), of("compared"))


class Meter:
    """CPU of this process, by stage, threads of libraries included."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def __call__(self, stage: str, work: Callable[..., Found], *arguments: Any) -> Found:
        """Do it, and take note."""
        began = time.process_time()
        found = work(*arguments)
        self.spent.setdefault(stage, []).append(time.process_time() - began)
        return found


def in_batches(
    kafka: RealKafka, values: list[bytes], bundle: Bundle, topic: str
) -> dict[str, float]:
    """CPU microseconds an event, by stage: all of a batch of 4,000 asked, compared, written.

    The last two are what the challenger does: its prediction alone, here, turn by turn with the
    stages; and all that its process does, measured from outside.
    """
    catalogue = read_directory(ROOT / "schemas").catalogue
    job = pick(load(ROOT / "topology.yaml", {}), None)
    model = Model(bundle)
    policy = replace(policy_of(job), shadow=True)
    offer = offered(job.name, Enricher(policy, catalogue, model).enrich(of_values(values[:BATCH])))
    if offer is None:
        raise RuntimeError("nothing was scored")
    beside = challenger(bundle, flights_schema())
    recorder = Recorder(comparison_contract(catalogue, "flights.comparisons-value").frame)
    matrix = model.features.compute(offer.table).matrix
    counts, child = CountsState(), Child(COMMAND, threading.Event())
    make: Callable[..., Producer] = Producer
    client = {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 50, "acks": "1"}
    producer = make({**client, "delivery.report.only.error": True, "max.in.flight": 1})
    kafka.create_topic(topic, 1)
    meter = Meter()
    try:
        child.load(bundle, 60)
        child.score(offer.table, 60)
        began = cpu_seconds(child.pid)
        for _ in range(ROUNDS):
            asked = meter("picking its columns", offer.asked, 1.0)
            said = meter("asking the process", child.score, asked.table, 60)
            made = meter("comparing, counting", _counted, counts, asked, said, beside)
            records = meter("encoding records", recorder.records, asked, beside, made)
            meter("writing them", _write, producer, topic, records)
            meter(PREDICTION, model.predict, matrix)
        spent = cpu_seconds(child.pid) - began
    finally:
        child.end()
    found = {name: statistics.median(seen) * 1e6 / BATCH for name, seen in meter.spent.items()}
    return {**found, PROCESS: spent * 1e6 / BATCH / ROUNDS}


def _counted(counts: CountsState, asked: Any, said: Any, beside: Any) -> Any:
    made = opinion(said, beside)
    count(counts, asked, made)
    return made


def _write(producer: Producer, topic: str, records: list[Any]) -> None:
    produce: Callable[..., None] = producer.produce
    for key, value, stamp in records:
        produce(topic, value, key, -1, None, None, stamp)
    producer.flush()


def of_values(values: list[bytes]) -> Batch:
    """A batch of framed events."""
    rows, now = len(values), int(time.time() * 1000)
    keys: list[bytes | None] = [str(row).encode() for row in range(rows)]
    headers: list[Any] = [[] for _ in range(rows)]
    offsets, stamps = list(range(rows)), [(1, now)] * rows
    return Batch("flights", now, keys, list(values), headers, [0] * rows, offsets, stamps)


def at_a_rate(kafka: RealKafka, store: Store, share: float) -> Cost:
    """A worker of its own, with a challenger that gets this share of the events."""
    subject = replace(
        worker("exactly_once"),
        models=Path(store.place),
        more=SHADOW % share if share else "",
    )
    source = f"shadowed.{time.time_ns()}"
    kafka.create_topic(source, PARTITIONS)
    with running(subject, kafka, source) as (pid, target):
        cost = _cost(kafka, pid, source, target, share)
    kafka.delete_topic(source)
    return cost


def _cost(kafka: RealKafka, pid: int, source: str, target: str, share: float) -> Cost:
    compared, out = (Ends(kafka.bootstrap_servers, t) for t in (f"{target}.comparisons", target))
    time.sleep(START_SECONDS)
    early = set(_threads(pid))
    _warm(kafka, source, compared if share else out)
    _still(out)
    children, threads, told, came = _children(pid), _threads(pid), compared.count(), out.count()
    before = cpu_seconds(pid), sum(map(cpu_seconds, children))
    pacing = f"from benchmarks.latency import pace; pace({kafka.bootstrap_servers!r}, "
    command = [sys.executable, "-c", f"{pacing}{source!r}, {RATE})"]
    subprocess.run(command, check=True, cwd=ROOT)
    _still(out)
    _still(compared)
    events = RATE * SECONDS
    spent = cpu_seconds(pid) - before[0], sum(map(cpu_seconds, children)) - before[1]
    told, came = compared.count() - told, out.count() - came
    compared.close()
    out.close()
    if came < events:
        raise TimeoutError(f"{came} of {events} events came out")
    return Cost(
        worker=spent[0] * 1e6 / events,
        thread=_shadows(early, threads, _threads(pid)) * 1e6 / events,
        child=spent[1] * 1e6 / events,
        compared=told / events,
    )


def _warm(kafka: RealKafka, source: str, ends: Ends) -> None:
    """Until something comes out: on a busy machine a challenger takes long to start.

    Raises:
        TimeoutError: nothing does.
    """
    for _ in range(WARM_TRIES):
        fill(kafka.bootstrap_servers, source, framed_flights()[:WARM_EVENTS], WARM_EVENTS)
        time.sleep(1)
        if ends.count():
            return
    raise TimeoutError("nothing came out")


def _still(ends: Ends) -> None:
    """Until nothing more comes: the worker may be behind, the challenger is."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < STILL_SECONDS:
        if (now := ends.count()) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.2)


def _threads(pid: int) -> Ticks:
    found = {}
    for place in Path(f"/proc/{pid}/task").iterdir():
        name = (place / "comm").read_text().strip()
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        found[int(place.name)] = name, (int(fields[11]) + int(fields[12])) / TICKS
    return found


def _shadows(early: set[int], before: Ticks, after: Ticks) -> float:
    """Of the shadow's thread, and of its client's: that one connects when the first comparison is
    written, so its threads are not among the `early` ones, as all other clients' are.
    """
    return sum(
        seconds - (before[thread][1] if thread in before else 0.0)
        for thread, (name, seconds) in after.items()
        if name == THREAD or (thread not in early and name.startswith("rdk:"))
    )


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


def table(found: dict[str, Costs], turns: int) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## A challenger beside the champion",
        "",
        "The challenger is the same model again, in its own process at the lowest priority. CPU "
        "microseconds an event that is compared, in batches of 4,000; medians of "
        f"{ROUNDS}. The bold line is what the shadow costs its worker, the last two are the "
        "challenger's.",
        "",
        "| | " + " | ".join(found) + " |",
        "|---" * (len(found) + 1) + "|",
    ]
    stages = [costs.stages for costs in found.values()]
    mine = [name for name in stages[0] if name not in (PREDICTION, PROCESS)]
    lines += [_row(name, [seen[name] for seen in stages]) for name in mine]
    totals = [sum(seen[name] for name in mine) for seen in stages]
    shares = [total / seen[PREDICTION] for total, seen in zip(totals, stages, strict=True)]
    lines += [
        _row("**the worker, all of it**", totals),
        _row(PREDICTION, [seen[PREDICTION] for seen in stages]),
        _row(PROCESS, [seen[PROCESS] for seen in stages]),
        "| the worker, in predictions | " + " | ".join(f"{s:.2f}" for s in shares) + " |",
    ]
    return lines + _rates(found, turns)


def _row(name: str, values: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"


def _rates(found: dict[str, Costs], turns: int) -> list[str]:
    lines = [
        "",
        f"At {RATE:,} events/s, exactly once, CPU microseconds of every event; medians of {turns} "
        "turns. Batches are smaller at a fixed rate and cost more an event, the champion's too. "
        "The shadow's threads are its own and its client's; the rest of the worker "
        "differs from run to run by as much as it has neighbours.",
        "",
        "| model | events compared | worker, whole process | of that the shadow's threads | "
        "challenger's process |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {model} | {name} ({cost.compared:.0%}) | {cost.worker:.1f} | {cost.thread:.1f} | "
        f"{cost.child:.1f} |"
        for model, costs in found.items()
        for name, cost in costs.shares.items()
    ]
