"""Training trees on the workers of a Dask cluster: LightGBM's own interface to it.

Each worker has a part of the rows, and sends the others its histograms. The same parts in the same
order and the same parameters give the same trees, wherever the workers are.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from workers.errors import ModelError
from workers.models.learning import FIXED, Parameters

_NETWORK = re.compile(r"^\[(local_listen_port|machines): .*\]$", re.MULTILINE)
_HERE = {"local_listen_port": "12400", "machines": ""}
"""What a training on one machine writes."""
_CALLED = {
    "num_leaves": "num_leaves",
    "max_depth": "max_depth",
    "learning_rate": "learning_rate",
    "bin_construct_sample_cnt": "subsample_for_bin",
    "min_gain_to_split": "min_split_gain",
    "min_sum_hessian_in_leaf": "min_child_weight",
    "min_data_in_leaf": "min_child_samples",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "feature_fraction": "colsample_bytree",
    "lambda_l1": "reg_alpha",
    "lambda_l2": "reg_lambda",
}
"""LightGBM's parameters that its estimators have a default of their own for, by another name."""


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's rows, at least one: futures of arrays that it has, of `rows` rows each."""

    rows: int
    matrix: Any
    labels: Any
    weights: Any | None


def train_distributed(  # noqa: PLR0913  what trees are made of
    client: Any,
    shares: Sequence[Share],
    *,
    names: Sequence[str],
    categorical: Sequence[str],
    parameters: Parameters,
    rounds: int,
    seed: int,
) -> str:
    """The booster's text. `client` is of `distributed`; threads are those of its workers.

    Raises:
        ModelError: LightGBM refuses rows or parameters, or a worker could not reach another.
    """
    from lightgbm.basic import LightGBMError
    from lightgbm.dask import DaskLGBMRegressor

    # A classifier would look for the classes in each worker's own rows; the objective is the same.
    model = DaskLGBMRegressor(
        client=client, n_estimators=rounds, **_named({**parameters, **FIXED, "seed": seed})
    )
    weights = None if shares[0].weights is None else _array([s.weights for s in shares], shares)
    try:
        # What it says goes to where people read; results go to standard output.
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Parameter n_jobs will be ignored")
            model.fit(
                _array([s.matrix for s in shares], shares, len(names)),
                _array([s.labels for s in shares], shares),
                sample_weight=weights,
                feature_name=list(names),
                categorical_feature=[list(names).index(name) for name in categorical],
            )
    except (LightGBMError, ValueError, TypeError) as error:
        raise ModelError(f"LightGBM cannot train: {error}") from error
    return _anywhere(model.booster_.model_to_string())


def _array(futures: Sequence[Any], shares: Sequence[Share], *columns: int) -> Any:
    """A Dask array with a chunk for each worker."""
    from dask import array

    chunks = [
        array.from_delayed(future, (share.rows, *columns), float)
        for future, share in zip(futures, shares, strict=True)
    ]
    return array.concatenate(chunks)


def _named(parameters: Parameters) -> dict[str, Any]:
    """As the estimator calls them: under another name its own default would be there as well."""
    from lightgbm.basic import _choose_param_value

    found = dict(parameters)
    for name, called in _CALLED.items():
        chosen = _choose_param_value(name, found, None)
        value = chosen.pop(name)
        found = chosen if value is None else {**chosen, called: value}
    return found


def _anywhere(text: str) -> str:
    """Without the addresses that the workers happened to have: they are nobody else's concern."""
    return _NETWORK.sub(lambda match: f"[{match[1]}: {_HERE[match[1]]}]", text)
