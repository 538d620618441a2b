"""The child that compiles and proves: a JSON document in, a JSON document out.

`python -m workers.models.compiled.child`. What LLVM or the machine code may do wrong, they do here
first, with limits on memory and time, and nice to the worker that goes on beside it.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from typing import Any

from workers.errors import ModelError
from workers.models.absent import leave_out

SECONDS = 120.0
MEMORY = 8 * 1024**3
"""Address space, bytes: most of it is reserved by libraries and never touched."""
NICE = 5


def prove(booster: str) -> dict[str, Any]:
    """Machine code of a model text, held to LightGBM on edge rows; or the error that says why."""
    # Imported here: the parent wants the limits alone, and llvmlite is an extra.
    from workers.models.booster import Booster
    from workers.models.compiled.emit import emit
    from workers.models.compiled.native import Native, to_machine_code
    from workers.models.compiled.parity import check_same, edge_rows
    from workers.models.compiled.trees import read_forest

    try:
        forest = read_forest(booster)
        code = to_machine_code(emit(forest))
        rows = edge_rows(forest)
        wanted = Booster(booster, threads=1).predict(rows)
        check_same(wanted, Native(code, features=forest.features).predict(rows), of="edge")
    except (ModelError, RuntimeError) as error:
        return {"error": str(error)}
    return {"code": base64.b64encode(code).decode()}


if __name__ == "__main__":
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, int(SECONDS)),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    os.nice(NICE)
    leave_out()
    found = json.dumps(prove(json.load(sys.stdin)["booster"]))
    # Something of a library's may stand before it: the answer is the last line.
    sys.stdout.write(f"\n{found}")
