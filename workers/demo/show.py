"""`workers demo`: broker, replay, the worker as a process of its own, a live view, a summary."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from rich.console import Console
from rich.live import Live

from workers.contracts.codec import Decoder
from workers.contracts.directory import read_directory
from workers.demo.flights import Traffic, traffic
from workers.demo.replay import Replay, SeenState
from workers.demo.view import live_view, progress_line, summary
from workers.errors import BrokerUnreachable, ClientHalt, ExitCode
from workers.testing import EmbeddedBroker, Reader, RealKafka, real_kafka
from workers.testing.kafka import NoKafka
from workers.topology import Worker, load
from workers.wiring import pick, topics_of

PARTITIONS = 4
STALL_SECONDS = 90.0


def show(*, topology: Path, kafka: bool, events: int, plain: bool) -> ExitCode:
    """Run the demo; 0 when every count adds up.

    Raises:
        Halt: no broker, no checkout, or the worker ended.
    """
    console, root = Console(width=None if sys.stdout.isatty() else 110), topology.resolve().parent
    worker = pick(load(topology), None)
    console.print(f"Reading {root / 'examples' / 'flights'} …")
    sent = traffic(root, events)
    console.print(
        f"{len(sent.records):,} records: {sent.what}; {len(sent.broken)} broken on purpose."
    )
    kind = "Apache Kafka" if kafka else "embedded broker (librdkafka's mock cluster)"
    with _broker(kafka=kafka) as broker:
        _create_topics(broker, worker)
        servers = broker.bootstrap_servers
        console.print(f"{kind} at {servers}; starting `workers run {worker.name}` …")
        stage = _Stage(console, root, worker, servers, sent)
        with _running(topology, worker, servers) as child:
            state, seconds = _watch(stage, child, plain=plain)
    return summary(console, root, worker, sent, state, seconds)


def _create_topics(broker: EmbeddedBroker | RealKafka, worker: Worker) -> None:
    for topic in topics_of(worker).values():
        try:
            broker.create_topic(topic, PARTITIONS)
        except KafkaException as error:
            raise ClientHalt(
                f"the demo makes its own topics, and {topic} could not be made on "
                f"{broker.bootstrap_servers}: {error.args[0].str()}; delete what an earlier run "
                "left, or use another cluster"
            ) from error


@contextmanager
def _broker(*, kafka: bool) -> Iterator[EmbeddedBroker | RealKafka]:
    try:
        broker = real_kafka() if kafka else EmbeddedBroker()
    except NoKafka as none:
        raise BrokerUnreachable(str(none)) from none
    with broker:
        yield broker


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a run of the demo is made of."""

    console: Console
    root: Path
    worker: Worker
    servers: str
    sent: Traffic


@dataclass(frozen=True, slots=True)
class _Child:
    """The worker's process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-3000:]


@contextmanager
def _running(topology: Path, worker: Worker, servers: str) -> Iterator[_Child]:
    """The command an operator runs, in a process of its own."""
    command = [sys.executable, "-m", "workers", "run", worker.name, "--topology", str(topology)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "worker.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stderr=out, stdout=out, env=_environment(servers))
        try:
            yield _Child(process, log)
        finally:
            process.terminate()
            try:
                process.wait(worker.drain_timeout + 5)
            except subprocess.TimeoutExpired:
                process.kill()


def _environment(servers: str) -> dict[str, str]:
    return {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers}


def _watch(stage: _Stage, child: _Child, *, plain: bool) -> tuple[SeenState, float]:
    """Replay and read until all is out; what was seen, and the seconds since the first of it."""
    worker, console, records = stage.worker, stage.console, stage.sent.records
    known = read_directory(stage.root / "schemas").catalogue.versions(worker.output.subject)
    enriched = known[max(known)]
    replay = Replay(stage.servers, worker.input.topic, records, Decoder(enriched.schema))
    replay.start()
    began: float | None = None
    said = moved = time.monotonic()
    with (
        Reader(stage.servers, worker.output.topic, worker.dead_letter.topic) as reader,
        Live(console=console, refresh_per_second=8, transient=True) as live,
    ):
        while not replay.done:
            before = replay.state.out
            replay.step(reader, 0.1)
            now = time.monotonic()
            if replay.state.out != before:
                began, moved = began or now, now
            _still_running(child, replay, now - moved)
            seconds = now - began if began else 0.0
            if not plain and console.is_terminal:
                live.update(live_view(replay.state, len(records), seconds))
            elif now - said >= 1:
                console.print(progress_line(replay.state, seconds), soft_wrap=True)
                said = now
    return replay.state, time.monotonic() - (began or said)


def _still_running(child: _Child, replay: Replay, stalled: float) -> None:
    if replay.failed is not None:
        raise ClientHalt(f"the replay could not be sent: {replay.failed}")
    if child.process.poll() is not None:
        raise ClientHalt(
            f"the worker ended with exit code {child.process.returncode}:\n{child.says()}"
        )
    if stalled > STALL_SECONDS:
        raise ClientHalt(
            f"nothing came out for {STALL_SECONDS:g} s; the worker says:\n{child.says()}"
        )
