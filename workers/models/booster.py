"""LightGBM, and nothing else of it than a text model in and scores out."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from typing import Protocol

import lightgbm
import numpy as np
import numpy.typing as npt

from workers.errors import ModelError

Matrix = npt.NDArray[np.float64]
_ROW_MAJOR = 1
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
        # num_threads is always given: otherwise OpenMP takes every core of the machine.
        self._parameters = f"num_threads={threads}".encode()

    def predict(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """One score a row; `matrix` has a column for each of `feature_names`, in that order."""
        if not len(matrix):
            return np.empty(0)
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        scores = np.empty(len(rows) * self.outputs)
        self._call(rows, scores)
        return scores if self.outputs == 1 else scores.reshape(len(rows), self.outputs)

    def _call(self, rows: Matrix, out: npt.NDArray[np.float64]) -> None:
        """What `lightgbm.Booster.predict` calls in the end, with what it would give.

        Its Python around the call is left out: batches of few rows would pay for it.
        """
        written = ctypes.c_int64(0)
        lightgbm.basic._safe_call(
            lightgbm.basic._LIB.LGBM_BoosterPredictForMat(
                self._booster._handle,
                ctypes.c_void_p(rows.ctypes.data),
                ctypes.c_int(lightgbm.basic._C_API_DTYPE_FLOAT64),
                ctypes.c_int32(rows.shape[0]),
                ctypes.c_int32(rows.shape[1]),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(lightgbm.basic._C_API_PREDICT_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(self._booster.best_iteration),
                ctypes.c_char_p(self._parameters),
                ctypes.byref(written),
                ctypes.c_void_p(out.ctypes.data),
            )
        )
        if written.value != len(out):
            raise ModelError(f"LightGBM gave {written.value} scores for {len(rows)} rows")

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
