"""The command as people and schedulers meet it: output, exit codes, signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.rig import topology_file
from tests.traffic import good
from workers.testing import EmbeddedBroker, Reader, RealKafka, isolated, produce
from workers.topology import Topology, describe, json_schema
from workers.wiring import pick


def workers(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "workers", *arguments]
    environment = {**os.environ, "COLUMNS": "120", **env}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the topology names, to be damaged."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    return tmp_path


def test_check_says_what_is_served_and_how() -> None:
    """Without a broker: topics, model, decisions, the decoding route of each schema."""
    done = workers("check", "--output", "json")

    assert done.returncode == 0
    found = json.loads(done.stdout)[0]
    assert found["worker"] == "flight-delays"
    assert found["model"] == "flight-delay version 1, golden rows reproduced"
    assert found["contracts"] == (
        "flights-value version 1: decoded by columns, enriched as flights.enriched-value version 2"
    )


def test_the_command_loads_no_model_and_no_broker_before_it_needs_them() -> None:
    """What every command pays at its start; a probe or a supervised process pays it each time."""
    heavy = ["lightgbm", "pandas", "polars", "pyarrow", "workers.testing", "workers.wiring"]
    program = f"import sys, workers.cli; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_a_faulty_topology_exits_3_with_every_fault(checkout: Path) -> None:
    """Line and field of each, on standard error."""
    file = checkout / "topology.yaml"
    text = file.read_text().replace("delivery: exactly_once", "delivery: perhaps")
    file.write_text(text.replace("first_start: earliest", "first_start: somewhere"))

    done = workers("check", cwd=checkout)

    assert done.returncode == 3
    assert "delivery" in done.stderr
    assert "first_start" in done.stderr
    assert "topology.yaml" in done.stderr


def test_a_missing_contract_exits_4(checkout: Path) -> None:
    """It names the subject."""
    shutil.rmtree(checkout / "schemas" / "flights.enriched-value")

    done = workers("check", cwd=checkout)

    assert done.returncode == 4
    assert "flights.enriched-value" in done.stderr


def test_a_damaged_model_exits_5(checkout: Path) -> None:
    """One flipped digit is found before anything is scored."""
    model = checkout / "models" / "flight-delay" / "1" / "model.txt"
    model.write_text(model.read_text().replace("0.1", "0.2", 1))

    done = workers("check", cwd=checkout)

    assert done.returncode == 5
    assert "model.txt" in done.stderr


def test_no_broker_exits_6(checkout: Path) -> None:
    """It names the address."""
    file = checkout / "topology.yaml"
    file.write_text(
        file.read_text().replace("127.0.0.1:9092}", "127.0.0.1:1}\n  connect_timeout: 1s")
    )

    done = workers("run", cwd=checkout)

    assert done.returncode == 6
    assert "127.0.0.1:1 within 1 s" in done.stderr


def test_missing_topics_exit_7(embedded: EmbeddedBroker) -> None:
    """All of them are named."""
    done = workers("run", KAFKA_BOOTSTRAP_SERVERS=embedded.bootstrap_servers)

    assert done.returncode == 7
    assert "input topic flights, output topic flights.enriched" in done.stderr


def test_wrong_usage_exits_2() -> None:
    """As shells expect."""
    assert workers("run", "--nonsense").returncode == 2


def test_an_unknown_worker_names_those_there_are() -> None:
    """Exit code 3: the topology has no such worker."""
    done = workers("run", "nobody")

    assert done.returncode == 3
    assert "flight-delays" in done.stderr


@pytest.mark.parametrize("command", ["check", "run", "schema", "demo", "plan", "apply"])
def test_every_help_has_an_example(command: str) -> None:
    """Example: …"""
    done = workers(command, "--help")

    assert done.returncode == 0
    assert f"Example: workers {command}" in " ".join(done.stdout.split())


def test_the_exported_schema_is_the_committed_one() -> None:
    """docs/topology.schema.json is what editors read, docs/topology.md what people do."""
    assert (ROOT / "docs" / "topology.md").read_text() == describe()
    done = workers("schema")

    assert json.loads(done.stdout) == json_schema()
    assert json.loads((ROOT / "docs" / "topology.schema.json").read_text()) == json_schema()


@pytest.fixture
def sigterm(kafka: RealKafka, topology: Topology, tmp_path: Path) -> tuple[Path, str, str]:
    """A topology on real Kafka, its input and its output."""
    _, worker = isolated(topology, pick(topology, None), kafka)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=False)
    return path, worker.input.topic, worker.output.topic


@pytest.mark.kafka
@pytest.mark.parametrize("processes", [1, 2])
def test_run_drains_on_sigterm(
    kafka: RealKafka, sigterm: tuple[Path, str, str], flights: list[bytes], processes: int
) -> None:
    """Exit code 0, everything once; the logs are JSON lines without a payload."""
    path, source, target = sigterm
    command = [sys.executable, "-m", "workers", "run", "--topology", str(path)]
    process = subprocess.Popen(
        [*command, "--processes", str(processes)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with Reader(kafka.bootstrap_servers, target) as reader:
        for part in range(4):
            produce(kafka.bootstrap_servers, source, good(flights[part * 500 : part * 500 + 500]))
        reader.until(lambda seen: len(seen) >= 2000)
        process.send_signal(signal.SIGTERM)
        _, logs = process.communicate(timeout=60)
        reader.read(0.5)

    assert process.returncode == 0
    assert len(reader.records) == 2000
    lines = [json.loads(line) for line in logs.splitlines()]
    assert {"worker.started", "worker.drained"} <= {line["event"] for line in lines}
    assert "20131001T" not in logs


@pytest.mark.kafka
@pytest.mark.faults
def test_a_killed_process_is_started_again(
    kafka: RealKafka, sigterm: tuple[Path, str, str], flights: list[bytes]
) -> None:
    """One of two children is killed: the supervisor starts it again, every record comes once."""
    path, source, target = sigterm
    command = [sys.executable, "-m", "workers", "run", "--topology", str(path)]
    process = subprocess.Popen([*command, "--processes", "2"], cwd=ROOT, stderr=subprocess.DEVNULL)
    with Reader(kafka.bootstrap_servers, target) as reader:
        produce(kafka.bootstrap_servers, source, good(flights[:1000]))
        reader.until(lambda seen: len(seen) >= 1000)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers_only = [int(pid) for pid in children if b"spawn_main" in _command_line(int(pid))]
        os.kill(workers_only[0], signal.SIGKILL)
        produce(kafka.bootstrap_servers, source, good(flights[1000:3000]))
        reader.until(lambda seen: len(seen) >= 3000, 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        reader.read(0.5)

    assert len(workers_only) == 2
    assert len(reader.records) == 3000


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
