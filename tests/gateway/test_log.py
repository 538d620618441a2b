"""No answer without its decision in the log; and what is done while the log is down."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import ROOT
from tests.gateway.conftest import KEY, NAME, PATH, AnyBroker, Json
from workers.contracts.catalogue import Catalogue
from workers.gateway.answers import Renderer
from workers.gateway.callers import hashed
from workers.testing import EmbeddedBroker, GatewayDriver, Reader
from workers.topology import Topology
from workers.topology.gateway import DecisionLogSettings

QUICK = {"timeout": "1s", "retry": "200ms"}


@pytest.fixture
def own() -> Iterator[EmbeddedBroker]:
    """A broker that may be taken down."""
    with EmbeddedBroker() as broker:
        yield broker


def ids_in(servers: str, topic: str, contracts: Catalogue, count: int) -> list[str]:
    """Decision ids of a topic, when there are so many, and a moment later."""
    renderer = Renderer(contracts.versions("flights.decisions-value")[2].schema, ["enrichment"])
    with Reader(servers, topic) as reader:
        reader.until(lambda read: len(read) >= count)
        reader.read(0.5)
        return renderer.ids([record.value or b"" for record in reader.records])


def decisions_of(topology: Topology) -> str:
    """The topic."""
    found = topology.workers[NAME].decisions
    assert found is not None
    return found.topic


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def test_a_log_that_is_down_refuses_and_comes_back(
    own: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Callable[[GatewayDriver], httpx2.Client],
    contracts: Catalogue,
    events: list[Json],
) -> None:
    """503 with Retry-After and no decision; afterwards by itself as before."""
    topology = gateway_topology(own, log=DecisionLogSettings.model_validate(QUICK))
    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        before = asking.post(PATH, json=events[0])
        own.set_down()
        down = [asking.post(PATH, json=event) for event in events[1:4]]
        readiness = asking.get("/readyz").status_code
        own.set_up()
        until(lambda: asking.get("/readyz").status_code == 200)
        after = asking.post(PATH, json=events[4])

    assert [answer.status_code for answer in (before, after)] == [200, 200]
    assert [answer.status_code for answer in down] == [503, 503, 503]
    assert readiness == 503
    problem = down[0].json()
    assert problem["type"] == "urn:workers:problem:decision-log-unavailable"
    assert int(down[0].headers["retry-after"]) >= 1
    found = ids_in(own.bootstrap_servers, decisions_of(topology), contracts, 2)
    answered = {answer.json()["enrichment"]["decision_id"] for answer in (before, after)}
    assert answered <= set(found)


def spilling(folder: Path) -> DecisionLogSettings:
    """To disk, at once."""
    return DecisionLogSettings.model_validate({**QUICK, "on_failure": "spill", "spill": folder})


def test_a_log_that_is_down_is_made_up_for_from_disk(
    own: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Callable[[GatewayDriver], httpx2.Client],
    contracts: Catalogue,
    events: list[Json],
    tmp_path: Path,
) -> None:
    """Every answer's decision is in the topic in the end, once; in this life and in the next."""
    topology = gateway_topology(own, log=spilling(tmp_path))
    answered = list[str]()

    def ask(asking: httpx2.Client, some: list[Json]) -> None:
        for event in some:
            answer = asking.post(PATH, json=event)
            assert answer.status_code == 200, answer.text
            answered.append(answer.json()["enrichment"]["decision_id"])

    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        ask(asking, events[:5])
        own.set_down()
        ask(asking, events[5:15])
        assert asking.get("/readyz").status_code == 200
        own.set_up()
        until(lambda: not list(tmp_path.glob("*.spill")))
        ask(asking, events[15:20])
        own.set_down()
        ask(asking, events[20:25])
    assert list(tmp_path.glob("*.spill"))
    own.set_up()
    with GatewayDriver(topology) as gateway:
        until(lambda: not list(tmp_path.glob("*.spill")))

    found = ids_in(own.bootstrap_servers, decisions_of(topology), contracts, 25)
    assert sorted(found) == sorted(answered)


def test_a_spill_is_bounded(
    own: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Callable[[GatewayDriver], httpx2.Client],
    events: list[Json],
    tmp_path: Path,
) -> None:
    """What does not fit is refused."""
    log = spilling(tmp_path).model_copy(update={"spill_bytes": 2000})
    topology = gateway_topology(own, log=log)
    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        own.set_down()
        statuses = [asking.post(PATH, json=event).status_code for event in events[:30]]

    assert statuses[0] == 200
    assert statuses[-1] == 503
    assert sum(file.stat().st_size for file in tmp_path.glob("*.spill")) <= 2200


@dataclass(frozen=True)
class Process:
    """`workers serve`, a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """As the kernel does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Topology], Process]]:
    """Starts gateways as processes."""
    started: list[Process] = []

    def start(topology: Topology) -> Process:
        file = tmp_path / "topology.yaml"
        file.write_text(written(topology))
        command = [sys.executable, "-m", "workers", "serve", "--topology", str(file)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"it ended with {process.wait()}"
        made = Process(process, f"http://{said.split()[1]}")
        started.append(made)
        return made

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        if each.process.stdout is not None:
            each.process.stdout.close()


def written(topology: Topology) -> str:
    """As a file says it: what these tests change of the demo's."""
    worker, gateway = topology.workers[NAME], topology.gateway
    assert gateway is not None
    assert worker.decisions is not None
    assert gateway.idempotency is not None
    spill = f"spill: {gateway.log.spill}" if gateway.log.spill else "retry: 200ms"
    return f"""
version: 1
broker: {{bootstrap_servers: "{topology.broker.bootstrap_servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
gateway:
  port: 0
  callers: {{tests: {{keys: ["{hashed(KEY)}"], workers: ["*"]}}}}
  idempotency: {{topic: {gateway.idempotency.topic}}}
  log: {{timeout: 1s, on_failure: {gateway.log.on_failure.value}, {spill}}}
workers:
  {NAME}:
    input: {{topic: {worker.input.topic}, subject: flights-value}}
    output: {{topic: {worker.output.topic}, subject: flights.enriched-value}}
    dead_letter: {{topic: {worker.dead_letter.topic}}}
    decisions: {{topic: {worker.decisions.topic}, subject: flights.decisions-value}}
    model: {{name: flight-delay, version: "1"}}
    first_start: earliest
    gateway: {{deadline: 5s}}
"""


def flood(url: str, events: list[Json], answered: list[str], enough: threading.Event) -> None:
    """Ask until nobody answers any more; note what was answered."""
    with httpx2.Client(base_url=url, headers={"X-API-Key": KEY}, trust_env=False) as asking:
        for number in range(100_000):
            try:
                answer = asking.post(PATH, json=events[number % len(events)])
            except httpx2.HTTPError:
                return
            if answer.status_code == 200:
                answered.append(answer.json()["enrichment"]["decision_id"])
            if len(answered) >= 200:
                enough.set()


def killed_under_load(process: Process, events: list[Json]) -> list[str]:
    """Ids of what was answered before the kill."""
    answered, enough = list[str](), threading.Event()
    parts: tuple[Any, ...] = (process.url, events, answered, enough)
    threads = [threading.Thread(target=flood, args=parts) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    process.kill()
    for thread in threads:
        thread.join(60)
    return answered


def test_kill_9_loses_no_decision_that_was_answered(
    broker: AnyBroker,
    gateway_topology: Callable[..., Topology],
    serve: Callable[[Topology], Process],
    contracts: Catalogue,
    events: list[Json],
) -> None:
    """In the middle of requests: what was answered is in the topic."""
    topology = gateway_topology(broker)
    answered = killed_under_load(serve(topology), events)

    found = ids_in(broker.bootstrap_servers, decisions_of(topology), contracts, len(answered))
    assert set(answered) <= set(found)
    assert len(set(found)) == len(found)


def test_kill_9_while_decisions_are_spilled_loses_none(
    own: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    serve: Callable[[Topology], Process],
    contracts: Catalogue,
    events: list[Json],
    tmp_path: Path,
) -> None:
    """The next process writes them, each once, although one was killed at that."""
    topology = gateway_topology(own, log=spilling(tmp_path / "spill"))
    process = serve(topology)
    own.set_down()
    answered = killed_under_load(process, events)
    own.set_up()
    serve(topology).kill()
    serve(topology)
    until(lambda: not list((tmp_path / "spill").glob("*.spill")))

    found = ids_in(own.bootstrap_servers, decisions_of(topology), contracts, len(answered))
    assert set(answered) <= set(found)
    assert len(set(found)) == len(found)
