"""The challenger's process: `python -m workers.models.shadow.child`.

It takes frames on standard input and answers on standard output, one for one. It gives way to
everything else on the machine, has limits on memory and on the processor time of a batch, and ends
as soon as its input ends, whatever it is doing: a worker that is killed leaves nothing behind.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    # Before the libraries are loaded that read them.
    os.environ[_name] = "1"

from workers.models.absent import leave_out

if __name__ == "__main__":
    leave_out()

import queue
import resource
import threading
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from workers.errors import ModelError
from workers.models.bundle import Bundle, Golden, Manifest
from workers.models.model import Model, Scored
from workers.models.shadow.frames import (
    ANSWER,
    BadFrame,
    Kind,
    State,
    header,
    read_frame,
    unpack_bundle,
)

NICE = 19
MEMORY = 8 * 1024**3
"""Address space, bytes: most of it is reserved by libraries and never touched."""
CPU_SECONDS = 600
"""Processor time of one question: the worker's own deadline is shorter; this holds without it."""
REFUSAL = 2000
_Question = tuple[Kind, int, bytes]


def main() -> None:
    """Answer until the input ends."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()
    # LightGBM writes warnings to standard output: the frames get a descriptor of their own.
    answers, source = os.fdopen(os.dup(1), "wb", buffering=0), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    threading.Thread(target=_listen, args=(source, questions), daemon=True).start()
    model: Model | None = None
    while True:
        kind, number, content = questions.get()
        _allow_cpu()
        if kind is Kind.LOAD:
            model, answer, said = _load(content)
        else:
            answer, said = Kind.SCORED, _score(model, content)
        _write(answers, header(answer, number, len(said)) + said)


def _listen(source: BinaryIO, questions: queue.SimpleQueue[_Question]) -> None:
    """Hand on what comes; at the end of the input the process ends, mid-prediction if need be."""
    try:
        while (frame := read_frame(source)) is not None:
            questions.put(frame)
    except (BadFrame, OSError):
        pass
    os._exit(0)


def _allow_cpu() -> None:
    """So much processor time from now on: the kernel ends what goes on for longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _load(content: bytes) -> tuple[Model | None, Kind, bytes]:
    manifest, booster = unpack_bundle(content)
    # Its golden rows were scored when it was proven.
    golden = Golden.model_construct(rows=())
    try:
        bundle = Bundle(Manifest.model_validate_json(manifest), booster.decode(), golden)
        return Model(bundle), Kind.READY, b""
    except ModelError as error:
        return None, Kind.REFUSED, str(error).encode()[:REFUSAL]


def _score(model: Model | None, content: bytes) -> bytes:
    if model is None:
        raise BadFrame("a batch before a model")
    with pa.ipc.open_stream(content) as stream:
        table = stream.read_next_batch()
    return pack_answer(model.score(table)).tobytes()


def pack_answer(scored: Scored) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """A batch's scores as the answer has them."""
    found = np.zeros(len(scored.scores), dtype=ANSWER)
    found["score"], found["band"] = scored.scores, scored.bands
    found["state"][list(scored.rejections)] = State.REJECTED
    found["state"][list(scored.failed)] = State.FAILED
    return found


def _write(stream: BinaryIO, said: bytes) -> None:
    view = memoryview(said)
    while view:
        view = view[stream.write(view) :]


if __name__ == "__main__":
    main()
