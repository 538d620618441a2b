"""`workers doctor` from end to end: without a broker, and on Apache Kafka."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.traffic import good
from workers.cli import app
from workers.enrich.path import Enricher
from workers.testing import Driver, RealKafka, produce
from workers.topology import load
from workers.wiring import pick

TEXT = """
version: 1
broker: {{bootstrap_servers: "{servers}", connect_timeout: 10s}}
contracts: {{directory: {folder}/schemas}}
models: {{directory: {folder}/models}}
state: {folder}
workers:
  flight-delays:
    input: {{topic: {tag}.flights, subject: flights-value}}
    output: {{topic: {tag}.enriched, subject: flights.enriched-value, settings: {{retention: 1h}}}}
    dead_letter: {{topic: {tag}.dlq, settings: {{retention: 1h}}}}
    model: {{name: flight-delay, version: "1"}}
    group: {tag}.group
    transactional_id: {tag}
    first_start: earliest
"""
Findings = list[dict[str, Any]]


def place(folder: Path, servers: str, tag: str = "doctor") -> Path:
    """A topology with copies of contracts and models."""
    for name in ("schemas", "models"):
        shutil.copytree(ROOT / name, folder / name)
    file = folder / "topology.yaml"
    file.write_text(TEXT.format(servers=servers, folder=folder, tag=tag))
    return file


def doctor(file: Path, *words: str) -> tuple[int, Findings]:
    """Exit code and findings."""
    done = CliRunner().invoke(app, ["doctor", "-t", str(file), "--output", "json", *words])
    said = json.loads(done.stdout)
    faults = [each for each in said["findings"] if each["severity"] == "fault"]
    assert said["faults"] == len(faults)
    return done.exit_code, said["findings"]


def of(found: Findings, check: str) -> list[str]:
    """Severities of a check's findings."""
    return [each["severity"] for each in found if each["check"] == check]


def test_without_a_broker_all_else_is_looked_at(tmp_path: Path) -> None:
    """And a port that nobody has is a fault, at once."""
    file = place(tmp_path, "127.0.0.1:1")
    code, found = doctor(file)
    assert code == 9
    assert of(found, "addresses") == ["fault"]
    assert of(found, "contracts") == of(found, "model") == of(found, "folders") == ["ok"]
    assert doctor(file, "--offline")[0] == 0


def test_a_damaged_model_and_a_missing_contract_are_found(tmp_path: Path) -> None:
    file = place(tmp_path, "127.0.0.1:1")
    model = tmp_path / "models" / "flight-delay" / "1" / "model.txt"
    model.write_bytes(model.read_bytes()[:-10])
    code, found = doctor(file, "--offline")
    assert (code, of(found, "model")) == (9, ["fault"])
    shutil.rmtree(tmp_path / "schemas" / "flights.enriched-value")
    code, found = doctor(file, "--offline")
    assert (code, of(found, "contracts"), of(found, "model")) == (9, ["fault"], [])


def test_the_table_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "-t", str(place(tmp_path, "127.0.0.1:1"))])
    assert done.exit_code == 9
    assert "correct broker.bootstrap_servers" in " ".join(done.stdout.split())
    assert "1 fault" in done.stdout


@pytest.mark.kafka
def test_on_a_cluster_it_goes_from_faults_to_none(
    kafka: RealKafka, tmp_path: Path, enricher: Enricher, flights: list[bytes]
) -> None:
    """Topics are missing, then made; nothing runs, then something does; records from the future."""
    file = place(tmp_path, kafka.bootstrap_servers, "doctor.cluster")
    code, found = doctor(file)
    assert code == 9
    assert of(found, "brokers") == of(found, "addresses") == ["ok"]
    assert "fault" in of(found, "plan")

    kafka.create_topic("doctor.cluster.flights", 2)
    assert CliRunner().invoke(app, ["apply", "--yes", "-t", str(file)]).exit_code == 0
    code, found = doctor(file)
    assert code == 0, [each for each in found if each["severity"] == "fault"]
    assert of(found, "group") == ["note"]
    assert of(found, "lag")[0] == "note"
    assert of(found, "acls") == ["note"]

    loaded = load(file, {})
    topic = "doctor.cluster.flights"
    with Driver(loaded, pick(loaded, None), enricher) as driver:
        produce(kafka.bootstrap_servers, topic, good(flights[:20]))
        driver.until(lambda: driver.journal.counts.enriched == 20)
        driver.until(lambda: driver.board.snapshot.lag == 0)
        found = doctor(file)[1]
    assert (of(found, "group"), of(found, "lag"), of(found, "clock")) == (["ok"], ["ok"], ["ok"])
