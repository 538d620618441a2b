"""Training trees with LightGBM: the same rows, parameters and seed give the same trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from workers.errors import ModelError
from workers.models.booster import Matrix

Parameters = Mapping[str, Any]
Values = npt.NDArray[np.float64]
FIXED: Parameters = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
"""Not the caller's to choose: scores are probabilities, and a training can be done again."""


def train(  # noqa: PLR0913  what trees are made of
    matrix: Matrix,
    labels: Values,
    weights: Values | None = None,
    *,
    names: Sequence[str],
    categorical: Sequence[str],
    parameters: Parameters,
    rounds: int,
    seed: int,
    threads: int,
) -> str:
    """The booster's text. `matrix` has a column for each of `names` and a row for each label.

    `weights` has an entry a row; without it they count alike.

    Raises:
        ModelError: LightGBM refuses rows or parameters.
    """
    data = lightgbm.Dataset(
        matrix,
        labels,
        weight=weights,
        feature_name=list(names),
        categorical_feature=list(categorical),
    )
    settings = {**parameters, **FIXED, "seed": seed, "num_threads": threads}
    try:
        booster = lightgbm.train(settings, data, num_boost_round=rounds)
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise ModelError(f"LightGBM cannot train: {error}") from error
    return str(booster.model_to_string())
