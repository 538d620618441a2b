"""`workers score` is the worker's own path: the same bytes in give the same block out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.enrich.test_evolution import events
from tests.enrich.test_path import POLICY, batch
from tests.traffic import broken, good
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.offline.events import FileFault, datums_of
from workers.testing import EmbeddedBroker, isolated, produce
from workers.topology import Topology
from workers.wiring import pick


@pytest.fixture
def items(contracts: Catalogue, flights: list[bytes]) -> list[dict[str, Any]]:
    """Real events; one whose delay no feature allows."""
    found = events(contracts.versions("flights-value")[1].schema, flights[:5000])
    found[7] = {**found[7], "departure_delay": 20_000}
    return found


def written(path: Path, contracts: Catalogue, items: list[dict[str, Any]]) -> Path:
    """The events as a file of that ending."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(items), path)
    else:
        schema = contracts.versions("flights-value")[1].schema
        with path.open("wb") as file:
            fastavro.writer(file, schema.parsed, items)
    return path


def workers(*arguments: str) -> tuple[int, str]:
    """Exit code and text."""
    done = CliRunner().invoke(app, ["score", *arguments, "-t", str(ROOT / "topology.yaml")])
    return done.exit_code, done.output + str(done.exception or "")


@pytest.mark.parametrize("ending", ["avro", "parquet"])
def test_a_file_is_scored_as_the_stream_is(
    ending: str,
    tmp_path: Path,
    contracts: Catalogue,
    bundle: Bundle,
    items: list[dict[str, Any]],
) -> None:
    """Bit for bit, but for place and time; what is rejected is listed with its reason."""
    source = written(tmp_path / f"events.{ending}", contracts, items)
    target = tmp_path / "out.avro"

    code, text = workers(str(source), "--output", str(target))

    assert code == 0, text
    counts = json.loads(text)
    assert counts["events"] == len(items)
    assert counts["enriched"] == len(items) - 1
    assert counts["rejected"] == {"feature": 1}
    line = json.loads(target.with_name("out.avro.rejected.jsonl").read_text())
    assert (line["event"], line["code"]) == (7, "range")
    schema = contracts.versions("flights-value")[1].schema
    datums = []
    for item in items:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema.parsed, item)
        datums.append(stream.getvalue())
    streamed = Enricher(POLICY, contracts, Model(bundle)).enrich(
        batch([frame(1) + datum for datum in datums])
    )
    output = contracts.versions("flights.enriched-value")[2].schema
    with target.open("rb") as file:
        scored: list[Any] = list(fastavro.reader(file))
    for event, (row, value) in zip(scored, sorted(streamed.enriched.items()), strict=True):
        expected: Any = fastavro.schemaless_reader(
            io.BytesIO((value or b"")[5:]), output.parsed, None
        )
        assert event["enrichment"].pop("decision_id").endswith(f"events.{ending}:0:{row}")
        del expected["enrichment"]["decision_id"]
        del event["enrichment"]["scored_at"], expected["enrichment"]["scored_at"]
        assert event == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.csv", b"a,b", ".avro or .parquet"),
        ("events.avro", b"Obj\x01damaged", "event 1"),
        ("events.parquet", b"PAR1", "event 1"),
        ("nothing.avro", None, "there is no such file"),
    ],
)
def test_what_is_no_file_of_events_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """The target stays away."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    target = tmp_path / "out.avro"

    code, text = workers(str(tmp_path / name), "--output", str(target))

    assert code != 0
    # Wrong usage is told in a frame, which breaks lines.
    assert said in " ".join(text.replace("│", " ").split())
    assert not target.exists()


def test_a_range_of_a_topic_is_scored(
    tmp_path: Path,
    embedded: EmbeddedBroker,
    topology: Topology,
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The counts say what became of it and where it began and ended."""
    _, worker = isolated(topology, pick(topology, None), embedded, partitions=2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", embedded.bootstrap_servers)
    records = [*good(flights[:100]), *broken(flights[0])]
    produce(
        embedded.bootstrap_servers,
        worker.input.topic,
        [replace(record, partition=1) for record in records],
    )
    source, target = f"topic://{worker.input.topic}", tmp_path / "out.parquet"
    place = ["--partition", "1", "--from", "10", "--to", "latest"]

    code, text = workers(source, "flight-delays", *place, "--output", str(target))

    assert code == 0, text
    counts = json.loads(text)
    assert (counts["events"], counts["enriched"]) == (90 + len(records) - 100, 90)
    assert sum(counts["rejected"].values()) == len(records) - 100
    assert counts["ranges"] == {"1": [10, len(records)]}
    assert pq.read_table(target)["record_offset"].to_pylist() == [*range(10, 100)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["events.avro", "--from", "3"], "not a file"),
        (["topic://flights", "--from", "noon"], "neither"),
        (["topic://nowhere"], "no topic nowhere"),
        (["{topic}", "--partition", "7"], "no partition 7"),
        (["{topic}", "--to", "5"], "name it with --partition"),
        (["{topic}", "--output", "out.csv"], ".avro and .parquet"),
    ],
)
def test_what_is_no_range_is_named_and_nothing_is_written(
    tmp_path: Path,
    embedded: EmbeddedBroker,
    topology: Topology,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    """Wrong usage, or what the cluster has not."""
    _, worker = isolated(topology, pick(topology, None), embedded, partitions=2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", embedded.bootstrap_servers)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    code, text = workers(*(a.format(topic=f"topic://{worker.input.topic}") for a in arguments))

    assert code != 0
    assert said in text
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, contracts: Catalogue) -> None:
    """Nothing is said of its events; nor where a script of one's own reads it."""
    missing = tmp_path / "history.avro"
    code, said = workers(str(missing), "--output", str(tmp_path / "scored.avro"))

    assert code == 2
    assert "there is no such file" in said
    assert not (tmp_path / "scored.avro").exists()
    with pytest.raises(FileFault, match=r"history\.avro: there is no such file$"):
        next(datums_of(missing, contracts.versions("flights-value")[1].schema))
