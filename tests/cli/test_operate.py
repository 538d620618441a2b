"""Operating running processes by the command: status, lag, pause and resume."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.traffic import good
from workers.cli import app
from workers.commands.operate import _numbers
from workers.models.store import Store
from workers.testing import EmbeddedBroker, Reader, Sent, isolated, produce
from workers.topology import Delivery, Topology, Worker
from workers.wiring import pick

PROCESSES = 2


def run(*words: str) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout


def free_ports() -> int:
    """The first of so many ports that nobody has."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for number in range(1, PROCESSES + 1):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            except OSError:
                continue
            return port


@pytest.fixture
def place(embedded: EmbeddedBroker, topology: Topology, tmp_path: Path) -> tuple[Path, Worker]:
    """A topology on the embedded broker, its model store its own."""
    _, worker = isolated(topology, pick(topology, None), embedded, delivery=Delivery.AT_LEAST_ONCE)
    shutil.copytree(ROOT / "models", tmp_path / "models")
    path = tmp_path / "topology.yaml"
    path.write_text(f"""
version: 1
broker: {{bootstrap_servers: "{embedded.bootstrap_servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {tmp_path / "models"}}}
state: {tmp_path}
health: {{port: {free_ports()}}}
workers:
  {worker.name}:
    input: {{topic: {worker.input.topic}, subject: flights-value}}
    output: {{topic: {worker.output.topic}, subject: flights.enriched-value}}
    dead_letter: {{topic: {worker.dead_letter.topic}}}
    model: {{name: flight-delay, version: "1", poll: 100ms}}
    group: {worker.group}
    delivery: at_least_once
    first_start: earliest
    consumer: {{session.timeout.ms: 2000, heartbeat.interval.ms: 500}}
""")
    return path, worker


@contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Two processes of the worker; drained at the end."""
    command = [sys.executable, "-m", "workers", "run", "-t", str(path), "-p", str(PROCESSES)]
    with (path.parent / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def until(condition: Callable[[], bool]) -> None:
    """Until it holds.

    Raises:
        TimeoutError: it never did.
    """
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.1)
    raise TimeoutError


def statuses(path: Path) -> list[dict[str, Any]]:
    """What the processes that answer say."""
    found = json.loads(run("status", "-t", str(path), "--output", "json")[1])
    return [asked["status"] for asked in found if asked["status"] is not None]


def test_a_pause_reaches_the_processes_that_run(
    place: tuple[Path, Worker], embedded: EmbeddedBroker, flights: list[bytes]
) -> None:
    """Each has a port of its own; status, lag and history say who paused what, and why."""
    path, worker = place
    file = ["-t", str(path)]
    assert run("status", *file)[0] == 9
    with running(path), Reader(embedded.bootstrap_servers, worker.output.topic) as reader:
        until(lambda: run("status", *file, "--processes", "2")[0] == 0)
        until(lambda: sum(len(s["partitions"]) for s in statuses(path)) == 4)
        instances = {said["instance"].rpartition(".")[2] for said in statuses(path)}
        assert instances == {"0", "1"}

        code, said = run("pause", *file, "--partitions", "0-1,3", "--why", "audit", "--who", "ann")
        assert code == 0
        assert "partitions 0, 1, 3 paused by ann since" in said
        until(lambda: all("audit" in str(found["paused"]) for found in statuses(path)))
        records = [
            Sent(r.value, r.key, r.headers, partition=n % 4, timestamp=1_700_000_000_000)
            for n, r in enumerate(good(flights[:40]))
        ]
        produce(embedded.bootstrap_servers, worker.input.topic, records)
        reader.until(lambda seen: len(seen) >= 10)
        until(lambda: sum(found["lag"] or 0 for found in statuses(path)) == 30)
        table = run("status", *file)[1]
        assert "operator: partitions" in table
        until(lambda: lag(path)["lag"] == 30)
        told = {part["partition"]: part for part in lag(path)["partitions"]}
        assert [told[number]["lag"] for number in range(4)] == [10, 10, 0, 10]
        assert told[0]["oldest"] == 1_700_000_000_000
        assert told[2]["time_lag_seconds"] == 0.0

        assert run("resume", *file, "--why", "done")[0] == 0
        reader.until(lambda seen: len(seen) >= 40)
        until(lambda: sum(found["lag"] or 0 for found in statuses(path)) == 0)
    history = Store(path.parent / "models").aliases("flight-delay").history
    assert [(entry.who, entry.did) for entry in history][:1] == [
        ("ann", f"pause {worker.name} partitions 0,1,3")
    ]
    assert (path.parent / "log").read_text().count('"worker.paused"') == PROCESSES


def lag(path: Path) -> dict[str, Any]:
    """As `workers lag` prints it."""
    found: dict[str, Any] = json.loads(run("lag", "-t", str(path), "--output", "json")[1])
    return found


def test_the_lag_of_a_group_that_never_ran(
    place: tuple[Path, Worker], embedded: EmbeddedBroker, flights: list[bytes]
) -> None:
    """Nothing is made up: no offset, no lag; with --watch one line a look."""
    path, worker = place
    produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:20]))
    options = ["--watch", "0.2", "--times", "2", "--output", "json"]
    code, said = run("lag", "-t", str(path), *options)
    assert code == 0
    looks = [json.loads(line) for line in said.splitlines()]
    assert [look["lag"] for look in looks] == [None, None]
    assert sum(part["end"] for part in looks[1]["partitions"]) == 20
    assert "records behind" in run("lag", "-t", str(path))[1]


def test_a_process_that_is_none_is_said_to_be_none(place: tuple[Path, Worker]) -> None:
    """Not there, or something else: exit code 9, and why."""
    path, _ = place
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answering = threading.Thread(target=_answer_once, args=(other,))
        answering.start()
        urls = ["--url", f"http://127.0.0.1:{port}", "--url", "http://127.0.0.1:1"]
        code, said = run("status", "-t", str(path), *urls, "--output", "json")
        answering.join()
    assert code == 9
    assert [asked["status"] for asked in json.loads(said)] == [None, None]
    assert "is it a worker?" in json.loads(said)[0]["why"]


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(None, set()), ("0", {0}), ("0,3-5", {0, 3, 4, 5}), ("2-2, 7", {2, 7})],
)
def test_partitions_are_numbers_and_ranges(text: str | None, numbers: set[int]) -> None:
    assert _numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "5-3", "1,,2", "1-9999999999", "٣"])
def test_what_is_no_partition_is_wrong_usage(place: tuple[Path, Worker], text: str) -> None:
    """Exit code 2, and nothing is changed."""
    words = ["pause", "-t", str(place[0]), "--why", "x", "--partitions", text]
    assert run(*words)[0] == 2
    assert Store(place[0].parent / "models").aliases("flight-delay").pauses == {}


@pytest.mark.parametrize(
    "command",
    ["status", "lag", "pause", "resume", "doctor", "offsets show", "offsets reset"],
)
def test_every_help_has_an_example(command: str) -> None:
    """Example: …"""
    code, said = run(*command.split(), "--help")
    assert code == 0
    assert f"Example: workers {command}" in " ".join(said.split())
