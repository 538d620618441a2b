"""Drift: the index is the textbook's, over the reference's bins, and cheap to keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.models.bundle import Bundle
from workers.models.drift import LEAST_SHARE, DriftState, column_of, psi
from workers.models.model import Model
from workers.models.reference import Bins, Categories, reference_of

Values = npt.NDArray[np.float64]


def textbook(reference: Values, served: Values, edges: Values) -> float:
    """The index of two sets of numbers, plainly: bins by numpy, and one of what is missing."""
    outer = np.array([-np.inf, *edges, np.inf])

    def counts(values: Values) -> Values:
        seen = values[~np.isnan(values)]
        inside, _ = np.histogram(seen, outer)
        return np.array([*inside, np.isnan(values).sum()], dtype=np.float64)

    p, q = counts(reference) + 0.5, counts(served) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


@pytest.fixture(scope="module")
def table(contracts: Catalogue, flights: list[bytes]) -> pa.RecordBatch:
    """4,000 real events, decoded."""
    return Decoder(contracts.versions("flights-value")[1].schema).decode(flights).table


@pytest.fixture(scope="module")
def model(bundle: Bundle, table: pa.RecordBatch) -> Model:
    """The demo's model, with the reference of these events."""
    plain = Model(bundle)
    scored = plain.score(table)
    features = plain.features.ordered
    return Model(replace(bundle, reference=reference_of(features, scored.matrix, scored.scores)))


def state(model: Model, **changes: Any) -> DriftState:
    """A window of an hour that looks at every row."""
    settings: dict[str, Any] = {"window": 3600.0, "rows_per_second": 100_000, "least": 100}
    return DriftState(model, **settings | changes)


def test_alike_is_nothing_and_apart_is_much() -> None:
    """Same counts, 0; half of one moved, more than the usual limit of 0.25."""
    even = np.array([1000, 1000, 1000, 1000])

    assert psi(even, even * 7) == pytest.approx(0, abs=1e-4)
    assert psi(even, np.array([100, 100, 1900, 1900])) > 0.25


def test_the_index_is_the_textbooks(model: Model, table: pa.RecordBatch) -> None:
    """Of every numeric feature and of the scores: as numpy has it from the numbers themselves."""
    scored = model.score(table)
    numbers = [not feature.categories for feature in model.features.ordered]
    matrix = np.where(numbers, scored.matrix * 1.5 + 2, scored.matrix)
    served = replace(scored, matrix=matrix, scores=np.clip(scored.scores * 1.3, 0, 1))
    window = state(model)
    window.feed(served, 10.0)

    found = window.figures(10.0)

    assert model.reference is not None
    for column, feature in enumerate(model.features.ordered):
        spread = model.reference.features[feature.name]
        if isinstance(spread, Bins):
            edges = column_of(spread).edges
            assert edges is not None
            wanted = textbook(scored.matrix[:, column], served.matrix[:, column], edges)
            assert found.features[feature.name] == pytest.approx(wanted, rel=1e-9), feature.name
    edges = column_of(model.reference.scores).edges
    assert edges is not None
    assert found.score == pytest.approx(textbook(scored.scores, served.scores, edges), rel=1e-9)
    assert found.features["departure_delay"] > 0.25


def test_the_same_events_have_not_moved(model: Model, table: pa.RecordBatch) -> None:
    """Also where only some of their rows are looked at."""
    window = state(model, rows_per_second=2000)
    window.feed(model.score(table), 10.0)

    found = window.figures(10.0)

    assert found.rows == 4000
    assert found.looked_at == 2000
    assert found.score is not None
    assert max(*found.features.values(), found.score) < 0.1


def test_missing_and_unknown_are_counted_over_all_rows(model: Model, table: pa.RecordBatch) -> None:
    """Before the feature's own rule, and an unknown category is not a missing one."""
    half = pa.array(
        ["no such" if row % 2 else c for row, c in enumerate(table["carrier"].to_pylist())]
    )
    none = pa.nulls(table.num_rows, pa.float64())
    changed = table.set_column(table.schema.get_field_index("carrier"), "carrier", half)
    changed = changed.set_column(table.schema.get_field_index("humidity"), "humidity", none)
    window = state(model, rows_per_second=10)

    scored = model.score(changed)
    window.feed(scored, 10.0)
    found = window.figures(10.0)

    assert found.unseen == {"carrier": 0.5, "origin": 0.0}
    assert (found.missing["carrier"], found.missing["humidity"]) == (0.0, 1.0)
    column = [feature.name for feature in model.features.ordered].index("carrier")
    assert np.isnan(scored.matrix[1::2, column]).all()


def test_so_many_rows_a_second_are_looked_at(model: Model, table: pa.RecordBatch) -> None:
    """However the batches come; what was not looked at is counted all the same."""
    window, scored = state(model, rows_per_second=1000), model.score(table)
    for now in (10.0, 10.0, 10.1, 10.6, 99.0):
        window.feed(scored, now)

    found = window.figures(99.0)

    # A second's at first, a tenth's and a half's, and no more than a second's after a long while.
    # Evenly spread over a batch may be some less.
    assert 2500 < found.looked_at <= 1000 + 0 + 100 + 500 + 1000
    assert found.rows == 20_000


def test_few_rows_have_no_index(model: Model, table: pa.RecordBatch) -> None:
    """It would be noise."""
    window = state(model, least=5000)
    window.feed(model.score(table), 10.0)

    found = window.figures(10.0)

    assert (found.score, found.features) == (None, {})
    assert found.missing


def test_what_is_older_than_the_window_is_forgotten(model: Model, table: pa.RecordBatch) -> None:
    """Step by step; what is left at the end is nothing."""
    window, scored = state(model), model.score(table)
    window.feed(scored, 0.0)
    window.feed(scored, 1800.0)

    rows = [window.figures(now).rows for now in (1801.0, 3700.0, 5500.0)]

    assert rows == [8000, 4000, 0]


def test_without_reference_there_is_no_index(bundle: Bundle, table: pa.RecordBatch) -> None:
    """What is missing is known all the same."""
    plain = Model(replace(bundle, reference=None))
    window = state(plain)
    window.feed(plain.score(table), 0.0)

    found = window.figures(0.0)

    assert (found.score, found.features, found.rows) == (None, {}, 4000)


def test_small_bins_are_joined() -> None:
    """Neighbours of numbers; of categories all that are too small."""
    numbers = Bins(edges=(0, 1, 2, 3, 4, 5), counts=(500, 1, 1, 498, 0))
    kinds = Categories(counts=(500, 2, 496, 2), missing=0)

    assert column_of(numbers).counts.tolist() == [0, 500, 500, 0, 0]
    assert column_of(numbers).places(np.array([-1, 0, 1, 5, 6, np.nan])).tolist() == [
        0,
        1,
        2,
        2,
        3,
        4,
    ]
    assert column_of(kinds).counts.tolist() == [500, 496, 4, 0]
    assert column_of(kinds).places(np.array([0, 1, 2, 3, np.nan])).tolist() == [0, 2, 1, 2, 3]
    assert LEAST_SHARE == 0.01
