"""A dead letter: the record as it came, and headers that say why it is here.

Kafka Connect's header names, so that tools which read Connect's dead letters read these, and our
own under `__workers.`. The original headers come first, untouched; a reader takes the last of a
name, for a record may have been dead-lettered before. Header values are UTF-8 text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from workers.contracts.framing import Header
from workers.enrich.batch import Batch, Rejection
from workers.stream.records import Record, record_bytes

CONNECT = "__connect.errors."
OURS = "__workers."
SEALED = f"{OURS}sealed"
"""Says how the value was encrypted, where it was; see `sealing`."""
TEXT_LIMIT = 512
"""Characters of the reason. With it, what a dead letter adds stays under `HEADER_BUDGET`."""
HEADER_BUDGET = 4096
"""Bytes a dead letter's own headers may take."""
_CONNECT_STAGE = {"feature": "TRANSFORMATION", "model": "TRANSFORMATION", "output": "TASK_PUT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who writes the dead letters, and where to. `limit`: bytes a record may have.

    `seal` encrypts a value, given with its place `topic:partition:offset`, into another and the
    header that says how.
    """

    topic: str
    worker: str
    instance: str
    build: str
    model: str
    limit: int
    seal: Callable[[bytes, str], tuple[bytes, Header]] | None = None


def dead_letter(
    origin: Origin, batch: Batch, row: int, rejection: Rejection, attempts: int
) -> Record:
    """The record to produce for a rejected row.

    One that would be over the limit goes out in steps: without our long headers; then as a pointer,
    without value, and where that is not enough without its headers and key, each of which leaves
    its size and SHA-256.
    """
    key, value, original = batch.keys[row], batch.values[row], batch.headers[row] or []
    timestamp = batch.timestamps[row]
    short = _essential(origin, batch, row, rejection)
    digest = _digest("value", value)
    if origin.seal is not None and value is not None:
        place = f"{batch.topic}:{batch.partitions[row]}:{batch.offsets[row]}"
        value, how = origin.seal(value, place)
        # A digest of what is secret and short can be guessed.
        short, digest = [*short, how], digest[:1]
    full = [*short, *_detail(origin, batch, row, rejection, attempts)]
    for headers in ([*original, *full], [*original, *short]):
        record = (origin.topic, key, value, headers, timestamp[1], -1)
        if record_bytes(record) <= origin.limit:
            return record
    pointer = [*full, *digest]
    record = (origin.topic, key, None, [*original, *pointer], timestamp[1], -1)
    if record_bytes(record) <= origin.limit:
        return record
    bare = [*pointer, (f"{OURS}headers.dropped", str(len(original)).encode())]
    record = (origin.topic, key, None, bare, timestamp[1], -1)
    if record_bytes(record) <= origin.limit:
        return record
    return (origin.topic, None, None, [*bare, *_digest("key", key)], timestamp[1], -1)


def _essential(origin: Origin, batch: Batch, row: int, rejection: Rejection) -> list[Header]:
    where = {
        f"{CONNECT}topic": batch.topic,
        f"{CONNECT}partition": str(batch.partitions[row]),
        f"{CONNECT}offset": str(batch.offsets[row]),
        f"{OURS}verdict": rejection.reject.verdict.value,
        f"{OURS}code": rejection.reject.code,
        f"{OURS}worker": origin.worker,
    }
    return _encoded(where)


def _detail(
    origin: Origin, batch: Batch, row: int, rejection: Rejection, attempts: int
) -> list[Header]:
    text = str(rejection.reject)[:TEXT_LIMIT]
    kind, milliseconds = batch.timestamps[row]
    why = {
        f"{CONNECT}connector.name": origin.worker,
        f"{CONNECT}task.id": origin.instance,
        f"{CONNECT}stage": _CONNECT_STAGE.get(rejection.stage, "VALUE_CONVERTER"),
        f"{CONNECT}class.name": "workers.enrich.path.Enricher",
        f"{CONNECT}exception.class.name": "workers.errors.Reject",
        f"{CONNECT}exception.message": text,
        f"{OURS}stage": rejection.stage,
        f"{OURS}attempts": str(attempts),
        f"{OURS}build": origin.build,
        f"{OURS}failed_at": str(batch.now),
        # The client cannot write every timestamp (0 means now), so it is here as well.
        f"{OURS}timestamp": str(milliseconds),
        f"{OURS}timestamp.type": str(kind),
    }
    if rejection.schema_id is not None:
        why[f"{OURS}schema.id"] = str(rejection.schema_id)
    if rejection.model_version is not None:
        why[f"{OURS}model"] = origin.model
        why[f"{OURS}model.version"] = rejection.model_version
    return _encoded(why)


def _digest(part: str, content: bytes | None) -> list[Header]:
    if content is None:
        return []
    digest = hashlib.sha256(content).hexdigest()
    return _encoded({f"{OURS}{part}.bytes": str(len(content)), f"{OURS}{part}.sha256": digest})


def _encoded(headers: dict[str, str]) -> list[Header]:
    return [(name, text.encode("utf-8", "replace")) for name, text in headers.items()]
