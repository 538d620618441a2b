"""LightGBM, and nothing else of it than a text model in and scores out."""

from __future__ import annotations

import re
import resource
import sys
from typing import Protocol

import lightgbm
import numpy as np
import numpy.typing as npt

from workers.errors import ModelError

Matrix = npt.NDArray[np.float64]
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)


class Scorer(Protocol):
    """What a model asks for scores: LightGBM, or a faster stand-in with the same answers."""

    def predict(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """One score a row; a column for each of the model's features."""


class Booster:
    """A loaded model. Use one from one thread: boosters share state inside (LightGBM #6142)."""

    def __init__(self, text: str, *, threads: int) -> None:
        """Load a model from its text.

        The parser can abort the process on a damaged file: only text that `verify` has loaded in a
        child process before may come here.

        Raises:
            ModelError: LightGBM refuses the text.
        """
        try:
            # Without the sizes it reads tree after tree, the same trees as fast. With them it reads
            # them in parallel, where what it finds wrong ends the process.
            self._booster = lightgbm.Booster(model_str=_SIZES.sub("", text, count=1))
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"LightGBM refuses the model: {error}") from error
        self._threads = threads
        self.feature_names: tuple[str, ...] = tuple(self._booster.feature_name())
        self.trees: int = self._booster.num_trees()
        self.outputs: int = self._booster.num_model_per_iteration()

    def predict(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """One score a row; `matrix` has a column for each of `feature_names`, in that order."""
        if not len(matrix):
            return np.empty(0)
        # num_threads is always given: otherwise OpenMP takes every core of the machine.
        scores = self._booster.predict(matrix, num_threads=self._threads)
        return np.asarray(scores, dtype=np.float64)

    def contributions(self, matrix: Matrix) -> Matrix:
        """What each feature adds to a row's raw score, and in the last column what all rows have.

        Exact Shapley values of the trees (Lundberg et al., TreeSHAP); a row's sum is its raw score.
        """
        if not len(matrix):
            return np.empty((0, len(self.feature_names) + 1))
        found = self._booster.predict(matrix, pred_contrib=True, num_threads=self._threads)
        return np.asarray(found, dtype=np.float64)


if __name__ == "__main__":
    # A child that shows whether a text can be loaded; its end says so, with the last line printed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_AS, (8 * 1024**3, 8 * 1024**3))
    Booster(sys.stdin.read(), threads=1)
