"""A model with its trees compiled and proven, or why not.

`python -m workers.models.compiled.build` is the child that compiles: a JSON document in, a JSON
document out. What LLVM or the machine code may do wrong, they do there first.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import resource
import subprocess
import sys
from typing import Any

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models.booster import Booster
from workers.models.bundle import Bundle
from workers.models.compiled.emit import emit
from workers.models.compiled.parity import check_same, edge_rows
from workers.models.compiled.trees import read_forest
from workers.models.model import Model

COMMAND = ("-m", "workers.models.compiled.build")
SECONDS = 120.0
MEMORY = 8 * 1024**3
"""Address space of the child, bytes: most of it is reserved by libraries and never touched."""
NICE = 5


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
    # Something of a library's may stand before it: the answer is the last line.
    answer: dict[str, Any] = json.loads(child.stdout.rpartition(b"\n")[2])
    if why := answer.get("error"):
        raise ModelError(why)
    return base64.b64decode(answer["code"])


def _child(question: dict[str, Any]) -> dict[str, Any]:
    from workers.models.compiled.native import Native, to_machine_code

    text = question["booster"]
    try:
        forest = read_forest(text)
        code = to_machine_code(emit(forest))
        rows = edge_rows(forest)
        wanted = Booster(text, threads=1).predict(rows)
        check_same(wanted, Native(code, features=forest.features).predict(rows), of="edge")
    except (ModelError, RuntimeError) as error:
        return {"error": str(error)}
    return {"code": base64.b64encode(code).decode()}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    found = json.dumps(_child(json.load(sys.stdin)))
    sys.stdout.write(f"\n{found}")
