"""llvmlite: IR to machine code, and machine code to a function that scores a matrix."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

from workers.models.booster import Matrix

_Score = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def to_machine_code(ir: str) -> bytes:
    """Compile for any processor of this machine's kind; an object file.

    LLVM's optimiser is left out: it takes up to a hundred times as long to compile, and saves a
    tenth to a third of a score's time.
    """
    module = llvm.parse_assembly(ir)
    found: bytes = _machine().emit_object(module)
    return found


class Native:
    """Scores of one model by its own machine code; a stand-in for `Booster.predict`.

    Machine code is trusted like a plugin: only what our own child process has just made may come
    here, and it is kept on no disk.
    """

    def __init__(self, code: bytes, *, features: int) -> None:
        """Load an object file that `to_machine_code` made of a forest with so many features."""
        machine = _machine()
        # Found here and named: what LLVM looks for in vain ends the process.
        llvm.add_symbol("exp", ctypes.cast(ctypes.CDLL(None).exp, ctypes.c_void_p).value)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._score = _Score(self._engine.get_function_address("score"))
        self._features = features

    def predict(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """One score a row, on the calling thread, without the GIL.

        Raises:
            ValueError: the matrix has not one column for each feature.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self._features:
            raise ValueError(f"{matrix.shape} is not rows of {self._features} features")
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        scores = np.zeros(len(rows))
        if len(rows):
            self._score(rows.ctypes.data, len(rows), self._features, scores.ctypes.data)
        return scores


def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(opt=0, jit=True)
