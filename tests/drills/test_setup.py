"""What a drill takes of the user's topology, and what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workers.drills import poison
from workers.drills.setup import INSTANCE, prepare, write_topology
from workers.errors import ContractError, TopologyError
from workers.topology import Sequencing, load
from workers.wiring import topics_of

RICH = """
version: 1
broker:
  bootstrap_servers: kafka.example.org:9093
  security:
    protocol: SASL_SSL
    sasl: {mechanism: PLAIN, username: me, password: "${DRILL_TEST_SECRET:-hidden}"}
contracts: {directory: schemas}
models: {directory: models}
workers:
  mine:
    input: {topic: flights}
    output: {topic: flights.enriched, max_message_bytes: 5000}
    dead_letter: {topic: flights.dlq, encryption: {key_file: key}, ledger: {topic: done}}
    shadow: {topic: flights.comparisons}
    model: {name: flight-delay, alias: champion, poll: 3s}
    rules: {before: [{name: far, when: distance > 9000, decision: review}]}
    retries: {tries: 1, topics: [{topic: flights.later, delay: 5s}]}
    latency: {score: 200ms, publish: 1s}
    unframed: drop
    delivery: at_least_once
    first_start: latest
    group: theirs
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Somebody's topology with much in it that a drill must not touch."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    aliases = '{"format": 1, "revision": 1, "champion": "2"}'
    (tmp_path / "models" / "flight-delay" / "aliases.json").write_text(aliases)
    (tmp_path / "topology.yaml").write_text(RICH)
    return tmp_path / "topology.yaml"


def test_their_settings_and_none_of_their_places(theirs: Path, tmp_path: Path) -> None:
    """Topics, group, broker, store and state are the drill's; no secret is written down."""
    folder = tmp_path / "drill"
    folder.mkdir()

    setup = prepare(theirs, "mine", folder)
    file = write_topology(
        setup,
        folder / "t.yaml",
        servers="127.0.0.1:1",
        tag="x",
        changes={},
    )

    text, made = file.read_text(), load(file, {INSTANCE: "a"})
    worker = made.workers["mine"]
    names = [*topics_of(worker).values(), worker.group, worker.transactional_id]
    assert all(name.startswith("drill.x") for name in names)
    assert list(made.workers) == ["mine"]
    assert "example.org" not in text
    assert "hidden" not in text
    assert (made.models.directory, made.state) == (folder / "models", folder / "state.x")
    assert worker.dead_letter.encryption is None
    assert worker.dead_letter.ledger is None
    assert worker.shadow is None
    assert (worker.model.version, worker.instance) == ("2", "a")
    assert (worker.delivery.value, worker.first_start.value) == ("at_least_once", "earliest")
    assert worker.output.max_message_bytes == 5000
    assert worker.output.subject == "flights.enriched-value"
    assert [rule.name for rule in worker.rules.before] == ["far"]
    assert worker.retries.tries == 1
    assert worker.latency is not None


def test_a_drill_parks_nothing(theirs: Path, tmp_path: Path) -> None:
    """Its bad records would take good ones of their keys along, as declared."""
    later = "retries: {tries: 1, topics: [{topic: flights.later, delay: 5s}]}"
    theirs.write_text(RICH.replace(later, "sequence: key"))
    folder = tmp_path / "drill"
    folder.mkdir()

    setup = prepare(theirs, "mine", folder)
    file = write_topology(setup, folder / "t.yaml", servers="127.0.0.1:1", tag="x", changes={})

    assert load(file, {INSTANCE: "a"}).workers["mine"].sequence is Sequencing.NONE


def test_events_are_those_that_the_worker_enriches(theirs: Path, tmp_path: Path) -> None:
    """Golden ones; and what is dropped by policy is not sent as a bad one."""
    folder = tmp_path / "drill"
    folder.mkdir()

    setup = prepare(theirs, "mine", folder)

    assert len(setup.events) > 10
    assert all(event.startswith(setup.entry.frame) for event in setup.events)
    assert "JSON" not in poison.pills(setup)
    assert "cut short" in poison.pills(setup)


def test_a_worker_that_enriches_nothing_cannot_be_drilled(theirs: Path, tmp_path: Path) -> None:
    """It says so before anything is started."""
    folder = tmp_path / "drill"
    folder.mkdir()
    theirs.write_text(RICH + "    limits: {max_payload_bytes: 10}\n")

    with pytest.raises(ContractError, match="enriches none of its"):
        prepare(theirs, "mine", folder)


def test_a_worker_that_retries_for_another_is_not_drilled(theirs: Path, tmp_path: Path) -> None:
    """The one that it works for is named."""
    with pytest.raises(TopologyError, match=r"drill mine: mine\.retry1 retries for it"):
        prepare(theirs, "mine.retry1", tmp_path)
