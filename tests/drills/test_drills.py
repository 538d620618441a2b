"""Every drill passes on a worker that keeps its promises, and fails where one is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_cli import workers
from tests.conftest import ROOT
from workers.drills.changes import Changes
from workers.drills.choices import BrokerChoice, DrillName
from workers.drills.ground import AnyBroker, broker
from workers.drills.promises import promises
from workers.drills.report import Mark, Question
from workers.drills.run import DRILLS, failed, report
from workers.drills.setup import Setup
from workers.drills.stage import Stage
from workers.testing import EmbeddedBroker, Reader, RealKafka


def quiet(_: str) -> None:
    """Nobody watches."""


def played(name: DrillName, setup: Setup, place: AnyBroker) -> Stage:
    """Run a drill: every check of it held."""
    stage = DRILLS[name].play(setup, place, quiet)
    found = report(name.value, "", stage, 0.0)
    assert not failed([found]), [c for c in found.checks if c.mark is Mark.FAIL]
    assert found.mark is Mark.PASS
    assert len(found.checks) >= 7
    return stage


def tell_tales(stage: Stage) -> dict[str, Callable[[], None]]:
    """Ways to break a promise in what the reader saw."""
    enriched = [n for n, each in enumerate(stage.outcomes) if each.block is not None]
    middle = enriched[len(enriched) // 2]

    def lose() -> None:
        origin = stage.outcomes[middle].origin
        stage.outcomes[:] = [each for each in stage.outcomes if each.origin != origin]

    def turn_round() -> None:
        stage.outcomes.reverse()

    def blame() -> None:
        """A good record that is a dead letter as well."""
        dead = stage.outcomes[middle]
        stage.outcomes.append(type(dead)(dead.origin, dead.record, None))

    return {"lose": lose, "turn round": turn_round, "blame": blame}


def fails_when_broken(stage: Stage) -> None:
    """The same evidence, less one record, in another order, or with one blamed."""
    whole = list(stage.outcomes)
    bad = {each.origin for each in whole if each.block is None}
    for how, expected in (("lose", "none is lost"), ("turn round", "order"), ("blame", "dead")):
        stage.outcomes[:] = whole
        stage.checks.clear()
        tell_tales(stage)[how]()
        promises(stage, bad=bad, doubled_at_most=None)
        assert any(c.mark is Mark.FAIL and expected in c.expected for c in stage.checks), how


@pytest.mark.parametrize(
    "name", [DrillName.REGISTRY_DOWN, DrillName.BAD_MODEL, DrillName.BROKER_LOSS]
)
def test_a_drill_passes_and_would_not_with_a_record_lost(name: DrillName, setup: Setup) -> None:
    """On the embedded broker, the worker a process of its own."""
    with EmbeddedBroker() as place:
        stage = played(name, setup, place)
        fails_when_broken(stage)

        assert all(process.ended is not None for process in stage.processes)
        assert all(topic.startswith("drill.") for topic in topics(stage))


def topics(stage: Stage) -> list[str]:
    """What the drill wrote to."""
    worker = stage.worker
    assert worker.decisions is not None
    return [
        worker.input.topic,
        worker.output.topic,
        worker.dead_letter.topic,
        worker.decisions.topic,
        worker.group,
        worker.transactional_id,
    ]


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.parametrize("name", [DrillName.KILL, DrillName.REBALANCE])
def test_a_drill_of_exactly_once_passes_on_kafka(
    name: DrillName, setup: Setup, kafka: RealKafka
) -> None:
    """Once, not at least once; and its topics are gone afterwards."""
    stage = played(name, setup, kafka)

    assert stage.worker.delivery.value == "exactly_once"
    once = next(check for check in stage.checks if check.expected.startswith("each of "))
    assert "once; none is lost" in once.expected
    assert "0 twice" in once.seen
    offsets = next(check for check in stage.checks if "offsets" in check.expected)
    assert offsets.mark is Mark.PASS
    with pytest.raises(TimeoutError), Reader(kafka.bootstrap_servers, stage.worker.output.topic):
        pass


@pytest.mark.kafka
@pytest.mark.faults
def test_the_drill_kills_a_broker_of_its_own(setup: Setup) -> None:
    """A Java process that it started, whatever cluster the environment names."""
    with broker(BrokerChoice.KAFKA, ours=True) as place:
        stage = played(DrillName.BROKER_LOSS, setup, place)

    assert stage.worker.delivery.value == "exactly_once"


def test_a_worker_that_dies_fails_the_drill(setup: Setup) -> None:
    """In words, with the exit code, and nothing is left running."""
    with EmbeddedBroker() as place, Stage(setup, place, quiet, Changes()) as stage:
        stage.file.write_text("version: 2")
        stage.ready(stage.start())

    assert [check.mark for check in stage.checks] == [Mark.FAIL]
    assert "ended with exit code 3" in stage.checks[0].seen


def test_what_never_comes_fails_the_drill(setup: Setup) -> None:
    """It says for what it waited."""
    with EmbeddedBroker() as place, Stage(setup, place, quiet, Changes()) as stage:
        stage.send(stage.good(5))
        stage.all_out(0.3)

    assert stage.checks[0].mark is Mark.FAIL
    assert stage.checks[0].seen.startswith("waited 0.3 s for every record to come out")


def test_the_command_says_it_in_words_and_as_json(tmp_path: Path) -> None:
    """Exit code 0, progress on standard error, the five questions; the user's files untouched."""
    before = files(ROOT / "models") | files(ROOT / "schemas")

    done = workers("drill", "poison", "flight-delays", "--output", "json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["mark"], found["drills"][0]["drill"]) == ("PASS", "poison")
    assert [each["question"] for each in found["questions"]] == [each.value for each in Question]
    assert "poison: 600 good records" in done.stderr
    assert files(ROOT / "models") | files(ROOT / "schemas") == before


def test_a_drill_needs_a_topology() -> None:
    """Elsewhere it says so, with the topology's exit code."""
    done = workers("drill", "all", "--topology", "absent.yaml")

    assert done.returncode == 3
    assert "absent.yaml" in done.stderr


def files(root: Path) -> dict[Path, int]:
    """Every file and when it was written."""
    return {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()}
