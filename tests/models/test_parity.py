"""Training and serving see the same numbers, bit for bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import lightgbm
import numpy as np
import polars as pl
import pytest

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from examples.flights.train import FEATURES
from tests.conftest import ROOT
from tests.enrich.test_path import POLICY, batch, read
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.contracts.schema import Schema
from workers.enrich.path import Enricher
from workers.errors import ModelError
from workers.models.bundle import Feature, read_bundle
from workers.models.model import Model, Scored
from workers.offline.events import FileFault
from workers.telemetry.steps import Lap, untimed
from workers.testing import build_features


class Watched(Model):
    """A model that keeps what it was asked and what it said."""

    seen: Scored

    def score(self, table: Any, lap: Lap = untimed) -> Scored:
        """As the model does."""
        self.seen = super().score(table, lap)
        return self.seen


@pytest.fixture(scope="module")
def month() -> pl.DataFrame:
    """5,000 events of a real month; one whose delay no feature allows."""
    late = pl.when(pl.int_range(pl.len()) == 7).then(20_000)
    return (
        shipped_month().head(5000).with_columns(departure_delay=late.otherwise("departure_delay"))
    )


@pytest.fixture(scope="module")
def schema(contracts: Catalogue) -> Schema:
    """The contract of the events."""
    return contracts.versions("flights-value")[1].schema


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_matrix_of_training_is_the_workers(
    version: str, contracts: Catalogue, schema: Schema, month: pl.DataFrame
) -> None:
    """Through the whole path of a worker: the matrix, the scores, what stands in the block."""
    bundle = read_bundle(ROOT / "models", "flight-delay", version)
    model = Watched(bundle)
    datums = encode(month, schema.text)

    table = build_features(month, schema, FEATURES)
    outcomes = Enricher(POLICY, contracts, model).enrich(batch([frame(1) + d for d in datums]))

    seen = model.seen
    assert seen.matrix is not None
    assert table.matrix.tobytes() == seen.matrix.tobytes()
    assert table.rejected.keys() == seen.rejections.keys() == {7}
    booster = lightgbm.Booster(model_str=bundle.booster)
    mine = booster.predict(table.matrix[table.usable], num_threads=1)
    assert np.array_equal(mine, seen.scores[table.usable])
    blocks = [
        read(contracts, "flights.enriched-value", value)["enrichment"]["score"]
        for _, value in sorted(outcomes.enriched.items())
    ]
    assert blocks == mine.tolist()


def test_events_come_as_datums_mappings_tables_or_files(
    tmp_path: Path, schema: Schema, month: pl.DataFrame
) -> None:
    """All the same; in a file the label cannot be beside the event."""
    datums = encode(month, schema.text)
    events = [fastavro.schemaless_reader(io.BytesIO(d), schema.parsed, None) for d in datums]
    avro, parquet = tmp_path / "events.avro", tmp_path / "events.parquet"
    with avro.open("wb") as file:
        fastavro.writer(file, schema.parsed, events)
    month.select(schema.field_names).write_parquet(parquet)
    expected = build_features(datums, schema, FEATURES)

    for source in (iter(datums), events, month, avro, parquet):
        found = build_features(source, schema, FEATURES)
        assert found.matrix.tobytes() == expected.matrix.tobytes()
        assert found.rejected == expected.rejected
    assert expected.frame().columns == [feature.name for feature in FEATURES]
    assert expected.frame().height == 5000


def test_what_cannot_be_built_is_named(tmp_path: Path, schema: Schema) -> None:
    """A field that is not there, a file that is none, an event that does not fit; no events."""
    assert build_features(list[bytes](), schema, FEATURES).matrix.shape == (0, 13)
    assert build_features([b"\x00"], schema, FEATURES).rejected.keys() == {0}
    with pytest.raises(ModelError, match="feature x: the contract has no field"):
        build_features([], schema, [Feature(name="x", sql="nothing")])
    with pytest.raises(FileFault, match=r"nothing\.avro"):
        build_features(tmp_path / "nothing.avro", schema, FEATURES)
    with pytest.raises(ValueError, match="carrier"):
        build_features([{"flight_id": "1"}], schema, FEATURES)
