"""What a model's reasons cost beside its predictions: measured where it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workers.models.model import Model

SECONDS = 0.05
"""Each of the two is repeated for so long."""


@dataclass(frozen=True, slots=True)
class ReasonsCost:
    """CPU seconds a row: a neighbour on the machine changes them less than time would."""

    prediction: float
    reasons: float

    def __str__(self) -> str:
        return (
            f"reasons take {self.reasons * 1e6:,.0f} µs of CPU a row, "
            f"{self.reasons / self.prediction:,.0f} times a prediction"
        )


def cost_of_reasons(model: Model, table: pa.RecordBatch) -> ReasonsCost:
    """Of these rows, as many as a batch explains; of a model that gives reasons."""
    asked = model.manifest.reasons
    if asked is None:
        raise ValueError("the model gives no reasons")
    matrix = model.features.compute(table).matrix[: asked.rows_per_batch]
    decided = [asked.decisions[0]] * len(matrix)
    return ReasonsCost(
        prediction=_seconds(lambda: model.predict(matrix)) / len(matrix),
        reasons=_seconds(lambda: model.reasons(matrix, decided)) / len(matrix),
    )


def _seconds(work: Callable[[], object]) -> float:
    """The median of as many tries as there is time for."""
    spent, until = list[float](), time.monotonic() + SECONDS
    while not spent or time.monotonic() < until:
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return float(np.median(spent))
