"""How each library loads a model text and scores a matrix of doubles on one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[Any], Any]


def lightgbm(model: Path, threads: int = 1) -> Predict:
    """As the worker asks it."""
    import lightgbm

    booster = lightgbm.Booster(model_str=model.read_text())
    return lambda rows: booster.predict(rows, num_threads=threads)


def lightgbm_two(model: Path) -> Predict:
    """On two threads."""
    return lightgbm(model, threads=2)


def compiled(model: Path) -> Predict:
    """`model.backend: compiled`, without its child process."""
    from workers.models.compiled.emit import emit
    from workers.models.compiled.native import Native, to_machine_code
    from workers.models.compiled.trees import read_forest

    forest = read_forest(model.read_text())
    return Native(to_machine_code(emit(forest)), features=forest.features).predict


def lleaves(model: Path) -> Predict:
    """LLVM."""
    import lleaves

    found = lleaves.Model(model_file=str(model))
    found.compile()
    return lambda rows: found.predict(rows, n_jobs=1)


def lignum(model: Path) -> Predict:
    """Its interpreter."""
    import lignum

    found = lignum.load(str(model))
    return lambda rows: found.predict(rows, n_jobs=1)


def lignum_compiled(model: Path) -> Predict:
    """Its generated C."""
    import lignum

    found = lignum.load(str(model))
    with tempfile.TemporaryDirectory() as folder:
        found.compile(work_dir=folder)
    return lambda rows: found.predict(rows, n_jobs=1)


def tl2cgen(model: Path) -> Predict:
    """Generated C."""
    import tl2cgen
    import treelite

    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/model.so"
        tl2cgen.export_lib(
            treelite.frontend.load_lightgbm_model(str(model)),
            toolchain="gcc",
            libpath=library,
            params={"parallel_comp": 16},
        )
        found = tl2cgen.Predictor(library, nthread=1)
    return lambda rows: found.predict(tl2cgen.DMatrix(rows, dtype="float64")).reshape(-1)


def treelite(model: Path) -> Predict:
    """GTIL, its interpreter."""
    import treelite

    found = treelite.frontend.load_lightgbm_model(str(model))
    return lambda rows: treelite.gtil.predict(found, rows, nthread=1).reshape(-1)


def onnx(model: Path) -> Predict:
    """ONNX Runtime; the converter takes floats of 32 bits only."""
    import lightgbm
    import onnxmltools
    import onnxruntime
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = lightgbm.Booster(model_str=model.read_text())
    kinds = [("rows", FloatTensorType([None, booster.num_feature()]))]
    content = onnxmltools.convert_lightgbm(booster, initial_types=kinds, zipmap=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content.SerializeToString(), options)
    output = session.get_outputs()[1].name

    def predict(rows: Any) -> Any:
        return session.run([output], {"rows": rows.astype(np.float32)})[0][:, 1]

    return predict
