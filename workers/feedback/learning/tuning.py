"""A search over LightGBM's parameters, within a budget, judged on later rows than it trains on."""

from __future__ import annotations

import importlib
from typing import Any

from workers.errors import ModelError
from workers.feedback.learning.parts import Part, TrainingRows
from workers.models.fitting import log_loss
from workers.models.learning import Parameters
from workers.topology.feedback import Retrain


def tuned(settings: Retrain, start: Parameters, rows: TrainingRows) -> Parameters:
    """The parameters whose trees have the lowest log loss on the held rows; `start` is one trial.

    The same rows and seed try the same parameters; how many of them is the same where `seconds` do
    not end the search.

    Raises:
        ModelError: the extra is not installed.
    """
    if settings.tune is None:
        return start
    optuna = _optuna()

    def loss(trial: Any) -> float:
        text = rows.trees({**start, **_suggested(trial)}, search=True)
        held = Part.HELD
        return log_loss(rows.scores(text, held), rows.labels(held), rows.weights(held))

    sampler = optuna.samplers.TPESampler(seed=settings.seed)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.enqueue_trial({name: start[name] for name in _STARTS if name in start})
    study.optimize(loss, n_trials=settings.tune.trials, timeout=settings.tune.seconds)
    return {**start, **study.best_params}


_STARTS = ("num_leaves", "learning_rate")


def _suggested(trial: Any) -> dict[str, Any]:
    return {
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 10.0, log=True),
    }


def _optuna() -> Any:
    try:
        found = importlib.import_module("optuna")
    except ImportError as error:
        raise ModelError(
            "retrain.tune needs the extra: pip install 'enrichment-workers[tuning]'"
        ) from error
    found.logging.set_verbosity(found.logging.WARNING)
    return found
