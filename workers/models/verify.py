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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema, parse
from workers.errors import ModelError, WorkersError
from workers.models.absent import leave_out
from workers.models.bundle import Bundle, Golden, Manifest

TOLERANCE = 1e-9
SECONDS = 60
MEMORY = 1024**3
"""Address space of the child in bytes, for a bundle of none: half of it is for the libraries."""
PER_BYTE = 10
"""Bytes of memory for each byte of a bundle; its text, its lines and its trees are held at once."""
OUTPUT = 64 * 1024**2
"""Bytes that the child may write."""
NICE = 5
ENVIRONMENT = {
    # One thread, and allocators that reserve no gigabyte, so that the limit can be near.
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
}
INHERITED = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""Nothing else of the worker's environment, which holds passwords, is told to the child."""


class Answer(BaseModel):
    """What the child says: an error, or score and decision of each golden row, in both ways."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    error: str | None = None
    batch: tuple[tuple[float | None, str], ...] = ()
    single: tuple[tuple[float | None, str], ...] = ()


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
    if answer.error is not None:
        raise ModelError(f"{where}: {answer.error}")
    for way, answers in (("batch", answer.batch), ("single", answer.single)):
        _compare(answers, bundle.golden, f"{where}, scored in {way}")


def _ask_child(question: str, where: str) -> Answer:
    memory = MEMORY + PER_BYTE * len(question)
    command = [sys.executable, "-P", "-m", "workers.models.verify", str(memory), str(SECONDS)]
    # Files in memory, not pipes: what the child may write is limited then, and needs no disk.
    with _file() as asked, _file() as out, _file() as errors:
        asked.write(question.encode())
        asked.seek(0)
        child = subprocess.Popen(
            command,
            stdin=asked,
            stdout=out,
            stderr=errors,
            start_new_session=True,
            env=_environment(),
        )
        try:
            child.wait(SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{where}: loading and scoring took over {SECONDS} s") from error
        finally:
            _end(child)
        if child.returncode != 0:
            raise ModelError(
                f"{where}: the child process that loaded it ended with {child.returncode}: "
                f"{_last_line(errors)}"
            )
        out.seek(0)
        return _answer(out.read(OUTPUT + 1), where)


def _file() -> BinaryIO:
    return os.fdopen(os.memfd_create("workers-verify"), "w+b")


def _environment() -> dict[str, str]:
    """The child's: it imports from where this process does, wherever both were started."""
    found = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    return {**found, **ENVIRONMENT, "PYTHONPATH": path}


def _last_line(errors: BinaryIO) -> str:
    """LightGBM may print bytes that were never in the file: do not trust them to be text."""
    end = errors.seek(0, os.SEEK_END)
    errors.seek(-min(end, 2000), os.SEEK_END)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:300] if lines else "no message"
    return "".join(c if c.isprintable() else "?" for c in last)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child, and what it may have started, whatever it was doing."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _answer(content: bytes, where: str) -> Answer:
    try:
        # Something of the library's may stand before it: the answer is the last line.
        return Answer.model_validate_json(content.rpartition(b"\n")[2])
    except ValidationError as error:
        raise ModelError(f"{where}: the child process that loaded it gave no answer") from error


def _compare(answers: Sequence[tuple[float | None, str]], golden: Golden, where: str) -> None:
    if len(answers) != len(golden.rows):
        raise ModelError(f"{where}: {len(answers)} answers for {len(golden.rows)} golden rows")
    for number, (row, (score, decision)) in enumerate(zip(golden.rows, answers, strict=True)):
        if score is None or not abs(score - row.score) <= TOLERANCE:  # so that NaN is refused
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
    _check_usable(scored.failed)
    if scored.matrix is not None:
        decided = [model.decisions[band] for band in scored.bands.tolist()]
        _check_reasons(model.reasons(scored.matrix, decided))
    return [
        [None if math.isnan(score) else score, model.decisions[band]]
        for score, band in zip(scored.scores.tolist(), scored.bands.tolist(), strict=True)
    ]


def _check_usable(failed: Mapping[int, str]) -> None:
    for row, why in failed.items():
        raise ModelError(f"golden row {row}: {why}")


def _check_reasons(reasons: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """That reasons can be had, and are numbers, is part of the proof; nothing is compared."""
    for row, given in enumerate(reasons):
        for reason in given:
            if not math.isfinite(reason["contribution"]):
                raise ModelError(f"golden row {row}: the contribution of {reason['code']} is none")


def _limit(memory: int, seconds: float) -> None:
    """What the child may have; it is also to be nice to the worker that goes on beside it."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(seconds)),
        (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    os.nice(NICE)
    # Where memory ends nevertheless, the kernel is to take the child and not the worker.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Also where it waits instead of working, and the worker that would end it is gone.
    signal.alarm(math.ceil(seconds) + 1)


if __name__ == "__main__":
    _limit(int(sys.argv[1]), float(sys.argv[2]))
    leave_out()
    found = json.dumps(_child(json.load(sys.stdin)))
    sys.stdout.write(f"\n{found}")
