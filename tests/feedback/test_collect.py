"""Collecting: every record once, whoever is killed, whoever else collects, whatever comes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.enrich.test_path import POLICY, batch
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.errors import ContractError
from workers.feedback.collect import Collector, nowhere
from workers.feedback.lake.compact import clean, compact
from workers.feedback.lake.files import scan
from workers.feedback.opening import Loop, open_loop, sources
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.stream.clock import SystemClock
from workers.stream.ranges import RangeFault
from workers.testing import EmbeddedBroker, Sent, produce
from workers.topology import load

COUNT = 600


@pytest.fixture(scope="module")
def records(contracts: Catalogue, bundle: Bundle, flights: list[bytes]) -> list[Sent]:
    """Decisions as the worker writes them, of two contract versions."""
    older = Catalogue(
        e for e in contracts if (e.subject, e.version) != ("flights.decisions-value", 3)
    )
    sent = batch([frame(1) + datum for datum in flights[:COUNT]])
    made = []
    for known, rows in ((older, range(100)), (contracts, range(100, COUNT))):
        outcomes = Enricher(POLICY, known, Model(bundle)).enrich(sent)
        made += [Sent(outcomes.decisions[row][0], b"N%d" % row, timestamp=1) for row in rows]
    return made


@pytest.fixture
def place(embedded: EmbeddedBroker, tmp_path: Path) -> Path:
    """A topology with topics, and a lake, of its own."""
    tag = uuid.uuid4().hex[:8]
    document = YAML(typ="safe").load((ROOT / "examples" / "flights" / "loop.yaml").read_text())
    document["broker"]["bootstrap_servers"] = embedded.bootstrap_servers
    document["contracts"]["directory"] = str(ROOT / "schemas")
    document["models"]["directory"] = str(ROOT / "models")
    subjects = {"decisions": "flights.decisions-value", "outcomes": "flights.outcomes-value"}
    worker, loop = document["workers"]["flight-delays"], document["feedback"]["flights"]
    for holder, key in ((worker, "decisions"), (loop, "outcomes")):
        holder[key] |= {"topic": f"{key}.{tag}", "subject": subjects[key]}
        embedded.create_topic(f"{key}.{tag}", 2)
    worker["batch"] = {"max_records": 50}
    loop["lake"] = {"directory": str(tmp_path / "lake")}
    file = tmp_path / "topology.yaml"
    with file.open("w") as opened:
        YAML(typ="safe").dump(document, opened)
    return file


def opened(file: Path) -> Loop:
    """The loop."""
    return open_loop(load(file), None)


def topic(loop: Loop) -> str:
    """Of its decisions."""
    assert loop.worker.decisions is not None
    return loop.worker.decisions.topic


def collect(loop: Loop, rows: int = 10_000) -> None:
    """What is there now."""
    clock = SystemClock()
    with sources(loop, clock) as found:
        Collector(loop.feedback, loop.log, clock, rows=rows).collect(found)


def collected(loop: Loop, table: str = "decisions") -> pl.DataFrame:
    """The lake's rows."""
    found = scan(loop.log.place, loop.log.newest().table(table))
    return pl.DataFrame() if found is None else found.collect()


def places(loop: Loop) -> list[tuple[int, int]]:
    """Which records the rows are, sorted."""
    rows = collected(loop)
    return sorted(rows.select("record_partition", "record_offset").rows()) if len(rows) else []


def test_decisions_of_all_versions_become_rows(
    embedded: EmbeddedBroker, place: Path, records: list[Sent], contracts: Catalogue
) -> None:
    """With their features as columns; of an older version these are null."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records)

    collect(loop)

    rows = collected(loop)
    assert rows.height == rows["decision_id"].n_unique() == COUNT
    assert rows["number.distance"].null_count() == rows["category.carrier"].null_count() == 100
    schema = contracts.versions("flights.decisions-value")[3].schema
    for sent in records[100:130]:
        assert sent.value is not None
        event: Any = fastavro.schemaless_reader(io.BytesIO(sent.value[5:]), schema.parsed, None)
        row = rows.row(by_predicate=pl.col("decision_id") == event["decision_id"], named=True)
        assert row["score"] == event["score"]
        assert row["scored_at"] == event["scored_at"]
        logged = dict(zip(event["number_names"], event["numbers"], strict=True))
        assert row["number.distance"] == logged["distance"]
        assert row["category.carrier"] == event["categories"][0]


def test_collecting_again_adds_what_is_new_and_nothing_else(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """No new document where there is nothing new."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records[:50])
    collect(loop)
    first = loop.log.newest()
    collect(loop)
    assert loop.log.newest() == first
    produce(embedded.bootstrap_servers, topic(loop), records[50:80])

    collect(loop, rows=7)

    assert len(places(loop)) == len(set(places(loop))) == 80


@pytest.mark.faults
def test_kill_9_at_any_point_loses_nothing_and_doubles_nothing(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """A process is killed at one failpoint after the other until one life reaches the end."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records[:300])
    command = [sys.executable, "-m", "tests.feedback.collecting", str(place), "50"]
    counts = []
    # Files written, before the document, after it; of the first commit and of a later one.
    for point in (0, 1, 2, 4):
        life = subprocess.run([*command, str(point)], cwd=ROOT, check=False)
        assert life.returncode == -signal.SIGKILL
        counts.append(len(places(loop)))
        assert len(set(places(loop))) == counts[-1]

    assert subprocess.run([*command, "999"], cwd=ROOT, check=False).returncode == 0

    assert counts == [0, 0, 50, 100]
    assert len(places(loop)) == len(set(places(loop))) == 300


def test_of_two_collectors_one_begins_again_where_the_other_ended(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """The other commits whenever the first one is about to."""
    loop, clock = opened(place), SystemClock()
    produce(embedded.bootstrap_servers, topic(loop), records[:200])
    seen: list[str] = []

    def at(name: str) -> None:
        if name == "before the document" and len(seen) < 3:
            seen.append(name)
            if len(seen) == 2:
                produce(embedded.bootstrap_servers, topic(loop), records[200:210])
            collect(loop, rows=30)

    with sources(loop, clock) as found:
        Collector(loop.feedback, loop.log, clock, rows=20, at=at).collect(found)

    assert len(seen) >= 1
    assert len(places(loop)) == len(set(places(loop))) >= 200


def test_compaction_changes_no_row_and_older_commits_can_still_be_read(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """Until they are forgotten; then their files go, and those of a killed collector."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records)
    collect(loop, rows=60)
    before, rows = loop.log.newest(), collected(loop)
    orphan = f"{loop.log.loop}/decisions/day=2013-01-01/event-0.parquet"
    assert loop.log.place.create(orphan, b"killed")

    made = compact(loop.log, before.at, nowhere)

    after = loop.log.newest()
    assert made.after < made.before == len(before.files)
    order = ["record_partition", "record_offset"]
    assert collected(loop).select(rows.columns).sort(order).equals(rows.sort(order))
    old = scan(loop.log.place, loop.log.read(before.number).table("decisions"))
    assert old is not None
    assert old.collect().height == rows.height
    assert (
        clean(loop.log, keep=1)
        == len(before.files)
        - len({file.path for file in before.files} & {file.path for file in after.files})
        + 1
    )
    assert collected(loop).height == rows.height
    assert compact(loop.log, before.at, nowhere).after == made.after


def test_what_is_no_event_is_counted_and_an_unknown_schema_stops(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """Bytes of nobody are not a reason to stop; a schema that is only not known here is."""
    loop = opened(place)
    strange = [Sent(b"{}"), Sent(None), Sent(frame(203) + b"\x01"), Sent(frame(1) + b"x")]
    produce(embedded.bootstrap_servers, topic(loop), [*records[:5], *strange])

    collect(loop)

    counted = loop.log.newest().unreadable[topic(loop)]
    assert counted == {"unframed": 1, "tombstone": 1, "malformed": 1, "other_subject": 1}
    assert len(places(loop)) == 5
    produce(embedded.bootstrap_servers, topic(loop), [Sent(frame(9999) + b"x")])
    with pytest.raises(ContractError, match="schema id 9999 is in no contract"):
        collect(loop)
    assert len(places(loop)) == 5


def test_a_topic_that_was_made_anew_is_not_mixed_with_the_old_one(
    embedded: EmbeddedBroker, place: Path, records: list[Sent]
) -> None:
    """Its offsets say other records than those that the lake has."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records[:5])
    collect(loop)
    newest = loop.log.newest()
    beyond = newest.model_copy(update={"offsets": {topic(loop): {0: 1000, 1: 1000}}})
    assert loop.log.append(newest, beyond)

    with pytest.raises(RangeFault, match="made anew"):
        collect(loop)


def test_the_command_collects_and_joins(
    embedded: EmbeddedBroker, place: Path, records: list[Sent], contracts: Catalogue, tmp_path: Path
) -> None:
    """What a user types, end to end, with an outcome by id."""
    loop = opened(place)
    produce(embedded.bootstrap_servers, topic(loop), records[100:110])
    schema = contracts.versions("flights.outcomes-value")[1].schema
    stream = io.BytesIO()
    arrival = {"decision_id": "flight-delays:flights:3:200", "arrival_delay": 42}
    arrival |= {"tailnum": None, "departed_at": None, "landed_at": 1_700_000_900_000}
    fastavro.schemaless_writer(stream, schema.parsed, arrival)
    produce(
        embedded.bootstrap_servers,
        loop.feedback.outcomes.topic,
        [Sent(frame(251) + stream.getvalue())],
    )
    target = tmp_path / "dataset.parquet"

    runs = [
        CliRunner().invoke(app, ["feedback", *command, "--topology", str(place)])
        for command in (
            ["collect", "--output", "json"],
            ["compact", "--keep", "1"],
            ["dataset", "--output", str(target), "--as-of", "2023-11-15"],
        )
    ]

    assert [run.exit_code for run in runs] == [0, 0, 0], runs[-1].output
    assert json.loads(runs[0].stdout)["rows"] == {"decisions": 10, "outcomes": 1}
    assert json.loads(runs[2].stdout)["outcomes"] == {"known": 1, "absent": 9}
    labels = pl.read_parquet(target).filter(pl.col("outcome") == "known")
    assert labels.select("decision_id", "label").rows() == [("flight-delays:flights:3:200", 1.0)]
