"""Scores are LightGBM's own, to the last bit."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from workers.models.booster import Booster

TEXT = Path(__file__).parents[2] / "models" / "flight-delay" / "1" / "model.txt"


@pytest.mark.parametrize("rows", [1, 2, 33, 1000])
@pytest.mark.parametrize("order", ["C", "F"])
def test_scores_are_those_of_lightgbms_own_predict(rows: int, order: str) -> None:
    """However many rows, however the matrix lies in memory, with missing values in it."""
    text = TEXT.read_text()
    booster, theirs = Booster(text, threads=1), lightgbm.Booster(model_str=text)
    made = np.random.default_rng(rows).normal(100, 500, (rows, len(booster.feature_names)))
    made[made < -300] = np.nan
    matrix = np.asarray(made, order=order)  # type: ignore[call-overload]

    scores = booster.predict(matrix)

    assert scores.tobytes() == np.asarray(theirs.predict(matrix, num_threads=1)).tobytes()
    assert rows < 33 or len(set(scores.tolist())) > 10


def test_a_matrix_of_other_columns_is_refused() -> None:
    """By LightGBM itself: never read beyond its end."""
    booster = Booster(TEXT.read_text(), threads=1)

    with pytest.raises(lightgbm.basic.LightGBMError):
        booster.predict(np.zeros((2, len(booster.feature_names) - 1)))
