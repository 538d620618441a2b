"""A model with its trees compiled and proven, or why not."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
from typing import Any

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema
from workers.errors import ModelError, WorkersError
from workers.models.bundle import Bundle
from workers.models.compiled.child import SECONDS
from workers.models.compiled.parity import check_same
from workers.models.compiled.trees import read_forest
from workers.models.model import Model

COMMAND = ("-m", "workers.models.compiled.child")


def compiled(model: Model, bundle: Bundle, schema: Schema) -> Model:
    """The same model with its trees compiled; its scores are LightGBM's.

    A child process compiles, and holds every leaf of every tree to LightGBM; then this process
    holds the bundle's golden rows to it. `bundle` is one that `verify` has accepted, `schema` its
    contract, `model` what is loaded from it.

    Raises:
        ModelError: the trees are not covered, llvmlite is missing, the child failed, or a score
            differs. `model` goes on as it is: with LightGBM.
    """
    if importlib.util.find_spec("llvmlite") is None:
        raise ModelError("not compiled: llvmlite is missing; the extra `compiled` brings it")
    # Imported here: llvmlite is an extra.
    from workers.models.compiled.native import Native

    forest = read_forest(bundle.booster)
    faster = model.scored_by(Native(_ask_child(bundle.booster), features=forest.features))
    datums = [base64.b64decode(row.datum) for row in bundle.golden.rows]
    table = Decoder(schema).decode(datums).table
    check_same(model.score(table).scores, faster.score(table).scores, of="golden")
    return faster


def compiled_or_not(model: Model, bundle: Bundle, schema: Schema) -> Model:
    """As `compiled`; where that fails `model` as it is, with the reason in `not_compiled`."""
    try:
        return compiled(model, bundle, schema)
    except Exception as error:  # noqa: BLE001  whatever it was, LightGBM is ready to serve
        why = str(error) if isinstance(error, WorkersError) else type(error).__name__
        return model.without_compiling(why)


def _ask_child(booster: str) -> bytes:
    """Machine code that answers as LightGBM does."""
    question = json.dumps({"booster": booster}).encode()
    try:
        child = subprocess.run(
            [sys.executable, *COMMAND],
            input=question,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"not compiled: it took over {SECONDS:g} s") from error
    if child.returncode != 0:
        raise ModelError(f"not compiled: the child process ended with {child.returncode}")
    # The answer is the last line.
    answer: dict[str, Any] = json.loads(child.stdout.rpartition(b"\n")[2])
    if why := answer.get("error"):
        raise ModelError(why)
    return base64.b64decode(answer["code"])
