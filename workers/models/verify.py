"""Prove a bundle in a child process before the worker loads it.

LightGBM's parser aborts the process on many damaged files and hangs on some; a flipped digit can
load and score differently, in silence. So: load and score the golden rows in a child with limits on
memory and time, as one batch and one by one, and compare.

`python -m workers.models.verify` is the child: a JSON document in, a JSON document out.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from typing import Any

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema, parse
from workers.errors import ModelError, WorkersError
from workers.models.bundle import Bundle, Golden, Manifest

TOLERANCE = 1e-9
SECONDS = 60
MEMORY = 8 * 1024**3
"""Address space of the child, bytes: most of it is reserved by libraries and never touched."""
OUTPUT = 64 * 1024**2
"""Bytes that the child may write."""
NICE = 5


def verify(bundle: Bundle, schema: Schema) -> None:
    """Load the bundle in a child and score its golden rows.

    Raises:
        ModelError: the child died, hung, refused, or a golden row scored otherwise; says which.
    """
    manifest = bundle.manifest
    where = f"model {manifest.name} version {manifest.version}"
    question = {
        "manifest": manifest.model_dump(mode="json"),
        "booster": bundle.booster,
        "golden": bundle.golden.model_dump(mode="json"),
        "schema": schema.text,
    }
    answer = _ask_child(json.dumps(question), where)
    if error := answer.get("error"):
        raise ModelError(f"{where}: {error}")
    for way in ("batch", "single"):
        _compare(answer[way], bundle.golden, f"{where}, scored in {way}")


def _ask_child(question: str, where: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "workers.models.verify", str(MEMORY)]
    # Into files, not pipes: what the child may write is limited then.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=errors, start_new_session=True
        )
        try:
            child.communicate(question.encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{where}: loading and scoring took over {SECONDS} s") from error
        finally:
            _end(child)
        if child.returncode != 0:
            # LightGBM may print bytes that were never in the file: do not trust them to be text.
            errors.seek(-min(errors.tell(), 2000), os.SEEK_END)
            tail = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ModelError(
                f"{where}: the child process that loaded it ended with {child.returncode}: "
                f"{tail[0] if tail else 'no message'}"
            )
        out.seek(0)
        return _answer(out.read(OUTPUT + 1), where)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, and what it may have started, whatever it was doing."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    child.wait()


def _answer(content: bytes, where: str) -> dict[str, Any]:
    try:
        # Something of the library's may stand before it: the answer is the last line.
        answer = json.loads(content.rpartition(b"\n")[2])
        if isinstance(answer, dict):
            return answer
    except ValueError:
        pass
    raise ModelError(f"{where}: the child process that loaded it gave no answer")


def _compare(answers: list[list[Any]], golden: Golden, where: str) -> None:
    if len(answers) != len(golden.rows):
        raise ModelError(f"{where}: {len(answers)} answers for {len(golden.rows)} golden rows")
    for number, (row, (score, decision)) in enumerate(zip(golden.rows, answers, strict=True)):
        if score is None or abs(score - row.score) > TOLERANCE:
            raise ModelError(f"{where}: golden row {number} scores {score}, not {row.score}")
        if decision != row.decision:
            raise ModelError(f"{where}: golden row {number} decides {decision}, not {row.decision}")


def _child(question: dict[str, Any]) -> dict[str, Any]:
    # Imported here: the parent must be able to ask without loading LightGBM for it.
    from workers.models.model import Model

    golden = Golden.model_validate(question["golden"])
    bundle = Bundle(Manifest.model_validate(question["manifest"]), question["booster"], golden)
    schema = parse(question["schema"], where="the bundle's contract")
    try:
        model = Model(bundle)
        model.features.check_fields(schema.field_names)
        datums = [base64.b64decode(row.datum) for row in golden.rows]
        decoder = Decoder(schema)
        batch = _score(model, decoder, datums)
        single = [_score(model, decoder, [datum])[0] for datum in datums]
    except WorkersError as error:
        return {"error": str(error)}
    return {"batch": batch, "single": single}


def _score(model: Any, decoder: Decoder, datums: list[bytes]) -> list[list[Any]]:
    decoded = decoder.decode(datums)
    if decoded.rejections:
        row, reject = next(iter(decoded.rejections.items()))
        raise ModelError(f"golden row {row} does not decode under the contract: {reject}")
    scored = model.score(decoded.table)
    if scored.rejections:
        row, reject = next(iter(scored.rejections.items()))
        raise ModelError(f"golden row {row}: {reject}")
    if scored.matrix is not None:
        # That reasons can be had is part of the proof; nothing is compared.
        model.reasons(scored.matrix, [model.decisions[band] for band in scored.bands.tolist()])
    return [
        [None if math.isnan(score) else score, model.decisions[band]]
        for score, band in zip(scored.scores.tolist(), scored.bands.tolist(), strict=True)
    ]


def _limit(memory: int) -> None:
    """What the child may have; it is also to be nice to the worker that goes on beside it."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    os.nice(NICE)


def _without_tables() -> None:
    """LightGBM imports these where they are installed, for inputs that we never give it.

    They are two fifths of the child's time.
    """
    for name in ("pandas", "sklearn", "matplotlib", "dask"):
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import fail


if __name__ == "__main__":
    _limit(int(sys.argv[1]))
    _without_tables()
    found = json.dumps(_child(json.load(sys.stdin)))
    sys.stdout.write(f"\n{found}")
