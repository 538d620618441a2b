"""What a challenger beside the champion costs: the worker with and without, and its process."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.environments import worker
from benchmarks.latency import SECONDS
from benchmarks.rig import PARTITIONS, ROOT, Ends, Subject, cpu_seconds, running
from workers.contracts.comparison import comparison_contract
from workers.contracts.directory import read_directory
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.models.bundle import read_bundle
from workers.models.shadow.challenger import challenger
from workers.models.shadow.comparison import Recorder, count, opinion
from workers.models.shadow.counts import CountsState
from workers.models.shadow.process import COMMAND, Child
from workers.models.store import Change, Store
from workers.stream.shadowing import offered
from workers.testing import RealKafka
from workers.topology import load
from workers.wiring import build_enricher, pick, policy_of

NAME = "flight-delay"
RATE = 10_000
SHADOW = "shadow: {{topic: {output}.comparisons, subject: flights.comparisons-value, share: %s}}"
SHARES = {"without": 0.0, "a tenth": 0.1, "all": 1.0}
START_SECONDS = 20
BATCH = 4_000
ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds: of the worker an event, of the challenger's process an event compared.

    `compared` and `done` are shares of the events: in the topic of comparisons, in the output.
    """

    worker: float
    child: float
    compared: float
    done: float


def shadow(kafka: RealKafka, folder: Path) -> dict[str, Cost]:
    """The worker, exactly once, at a fixed rate, with challengers that get more and more of it."""
    models = _models(folder)
    found = {}
    for name, share in SHARES.items():
        more = SHADOW % share if share else ""
        subject = replace(worker("exactly_once"), models=models, more=more)
        found[name] = _cost(subject, kafka)
    return found


def in_batches(kafka: RealKafka, values: list[bytes]) -> float:
    """CPU microseconds an event, in the worker: all of a batch of 4,000 asked, compared, written.

    Of the whole process, so that the client's threads count; the challenger's own is not in it.
    """
    catalogue = read_directory(ROOT / "schemas").catalogue
    topology = load(ROOT / "topology.yaml", {})
    job = pick(topology, None)
    policy = replace(policy_of(job), shadow=True)
    enricher = Enricher(policy, catalogue, build_enricher(topology, job).model)
    offer = offered(job.name, enricher.enrich(of_values(values[:BATCH])))
    if offer is None:
        raise RuntimeError("nothing was scored")
    bundle = read_bundle(ROOT / "models", NAME, "1")
    beside = challenger(bundle, catalogue.versions("flights-value")[1].schema)
    recorder = Recorder(comparison_contract(catalogue, "flights.comparisons-value").frame)
    counts, child = CountsState(), Child(COMMAND, threading.Event())
    make: Callable[..., Producer] = Producer
    producer = make({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 50})
    produce: Callable[..., None] = producer.produce
    kafka.create_topic("comparisons", 1)
    try:
        child.load(bundle, 60)
        places, began = offer.published(), 0.0
        for number in range(ROUNDS + 1):
            made = opinion(child.score(offer.table, 60), beside)
            count(counts, offer, places, made)
            for key, value, stamp in recorder.records(offer, places, beside, made):
                produce("comparisons", value, key, timestamp=stamp)
            producer.flush()
            # The first round connects.
            began = began if number else time.process_time()
        return (time.process_time() - began) * 1e6 / BATCH / ROUNDS
    finally:
        child.end()


def of_values(values: list[bytes]) -> Batch:
    """A batch of framed events."""
    rows, now = len(values), int(time.time() * 1000)
    keys: list[bytes | None] = [str(row).encode() for row in range(rows)]
    headers: list[Any] = [[] for _ in range(rows)]
    offsets, stamps = list(range(rows)), [(1, now)] * rows
    return Batch("flights", now, keys, list(values), headers, [0] * rows, offsets, stamps)


def _models(folder: Path) -> Path:
    """The demo's model as version 1 and, as challenger, as version 2: both cost the same."""
    root = folder / "models"
    for version in ("1", "2"):
        shutil.copytree(ROOT / "models" / NAME / "1", root / NAME / version)
    manifest = root / NAME / "2" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"', 1))
    now = datetime.datetime.now(datetime.UTC)
    change = Change(when=now, who="benchmarks", why="to be measured", did="promote 2 to challenger")
    Store(root).promote(NAME, "2", change, "challenger")
    return root


def _cost(subject: Subject, kafka: RealKafka) -> Cost:
    source = f"shadowed.{time.time_ns()}"
    kafka.create_topic(source, PARTITIONS)
    with running(subject, kafka, source) as (pid, target):
        time.sleep(START_SECONDS)
        ends = Ends(kafka.bootstrap_servers, target)
        compared = Ends(kafka.bootstrap_servers, f"{target}.comparisons")
        child = _children(pid)
        before = cpu_seconds(pid), sum(map(cpu_seconds, child))
        pacing = f"from benchmarks.latency import pace; pace({kafka.bootstrap_servers!r}, "
        command = [sys.executable, "-c", f"{pacing}{source!r}, {RATE})"]
        subprocess.run(command, check=True, cwd=ROOT)
        time.sleep(2)
        events = RATE * SECONDS
        spent = cpu_seconds(pid) - before[0], sum(map(cpu_seconds, child)) - before[1]
        told = compared.count()
        cost = Cost(
            worker=spent[0] * 1e6 / events,
            child=spent[1] * 1e6 / max(told, 1),
            compared=told / events,
            done=min(1.0, ends.count() / events),
        )
        ends.close()
        compared.close()
    return cost


def _children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


def table(found: dict[str, Cost], batches: float, predict: float) -> list[str]:
    """Markdown; `predict` are the microseconds an event of a prediction alone."""
    plain = found["without"].worker
    lines = [
        "",
        "## A challenger beside the champion",
        "",
        f"The worker, exactly once, at {RATE:,} events/s. The challenger is the same model again, "
        f"in its own process at the lowest priority; its prediction alone costs {predict:.1f} "
        f"µs/event in batches of 4,000. In such batches the worker spends {batches:.1f} µs of CPU "
        "an event on asking, comparing and writing the comparison. At a fixed rate batches are "
        "smaller and cost more an event, the champion's too:",
        "",
        "| events compared | worker, CPU µs/event | more than without | challenger's process, CPU "
        "µs/event compared |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} ({cost.compared:.0%}) | {cost.worker:.1f} | {cost.worker - plain:.1f} | "
        f"{cost.child:.1f} |"
        for name, cost in found.items()
    ]
    return lines
