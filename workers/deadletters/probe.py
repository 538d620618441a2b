"""One record through the real path, stage by stage, with no side effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from workers.contracts.framing import locate
from workers.deadletters.masking import HIDDEN, Malformed, decoded, shown
from workers.enrich.batch import Batch
from workers.enrich.versions import Version
from workers.errors import Halt, Reject
from workers.offline.path import WorkerPath


class Mark(StrEnum):
    """How a stage went."""

    PASSED = "ok"
    FAILED = "FAIL"
    TOLD = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage made of the record."""

    name: str
    mark: Mark
    text: str


def _passed(name: str, text: str) -> Stage:
    return Stage(name, Mark.PASSED, text)


def _failed(name: str, text: str) -> Stage:
    return Stage(name, Mark.FAILED, text)


def _told(name: str, text: str) -> Stage:
    return Stage(name, Mark.TOLD, text)


def probe(path: WorkerPath, batch: Batch, *, content: bool) -> Iterator[Stage]:
    """The stages of a batch of one row, each as it is done: the last one printed is where it ends.

    With `content` fields are shown, but for sensitive ones. The verdict at the end is the path's
    own; the stages before it only explain.
    """
    value = batch.values[0]
    if value is None:
        yield _told("frame", "no value: a tombstone")
    else:
        yield from _explained(path, batch, value, content=content)
    yield _verdict(path, batch)


def _explained(path: WorkerPath, batch: Batch, value: bytes, *, content: bool) -> Iterator[Stage]:
    try:
        located = locate(value, batch.headers[0])
    except Reject as reject:
        yield _failed("frame", str(reject))
        return
    if located is None:
        yield _failed("frame", "neither a schema id before the datum nor one in a header")
        return
    key, start = located
    name = key if isinstance(key, int) else key.hex()
    yield _passed("frame", f"schema {name}, {len(value) - start} bytes of datum")
    # Asks the registry for it, as the worker would.
    path.enrich(batch.select([]))
    version = path.enricher.binding.versions.get(key)
    if version is None:
        yield _failed("schema", str(path.enricher.binding.unknown(key)))
        return
    yield _passed("schema", f"{version.source}: {version}")
    yield from _read(path, version, value[start:], content=content)


def _read(path: WorkerPath, version: Version, datum: bytes, *, content: bool) -> Iterator[Stage]:
    try:
        record = decoded(version.source.schema, datum)
    except Malformed as error:
        yield _failed("decode", str(error))
        return
    fields = shown(version.source.schema, record, content=content)
    yield _passed("decode", ", ".join(f"{name}={each}" for name, each in fields.items()))
    table = version.reader.decode([datum])
    for reject in table.rejections.values():
        yield _failed("read as the model's version", str(reject))
        return
    for seat in path.enricher.servings:
        model = seat.model
        label = f"{model.manifest.name} {model.manifest.version}"
        featured = model.features.compute(table.table)
        for reject in featured.rejections.values():
            yield _failed(f"features of {label}", str(reject))
            return
        numbers = featured.matrix[0].tolist()
        pairs = zip((feature.name for feature in model.features.ordered), numbers, strict=True)
        told = ", ".join(f"{n}={v if content else HIDDEN}" for n, v in pairs)
        yield _passed(f"features of {label}", told)
        scored = model.score(table.table)
        if np.isnan(scored.scores[0]):
            yield _failed(f"score of {label}", scored.failed.get(0, "no score"))
        else:
            band = model.decisions[int(scored.bands[0])]
            yield _passed(f"score of {label}", f"{float(scored.scores[0])!r}, {band}")


def _verdict(path: WorkerPath, batch: Batch) -> Stage:
    try:
        outcomes = path.enrich(batch)
    except Halt as halt:
        return _failed("verdict", f"the worker would halt: {halt}")
    if (rejection := outcomes.rejected.get(0)) is not None:
        reject = rejection.reject
        return _failed("verdict", f"{reject.verdict} {reject.code}: {reject}")
    if 0 in outcomes.dropped:
        return _told("verdict", "dropped, as declared")
    size = len(outcomes.enriched[0] or b"")
    return _passed("verdict", f"{outcomes.decided.get(0, 'passed on')}, {size} bytes to publish")
