"""What telemetry says of itself, and every log event with what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum


class TelemetryEvent(StrEnum):
    """Every event name that telemetry notes."""

    UNWELL = "telemetry.unwell"
    RECOVERED = "telemetry.recovered"


Note = Callable[[TelemetryEvent, Mapping[str, object]], None]
"""Told of events, from the threads that send."""

LOG_EVENTS: Mapping[str, str] = {
    "worker.started": "the loop begins",
    "worker.progress": "every ten seconds: committed counts and rate",
    "worker.stopping": "it was told to end",
    "worker.drained": "what was under way is committed",
    "worker.drain_abandoned": "the drain budget ran out; what was not committed is read again",
    "batch.committed": "the broker has acknowledged a batch: its counts and seconds, one line "
    "each, written within a second",
    "batch.narrowed": "a record of a batch is refused; smaller batches find it",
    "partitions.assigned": "the group gave partitions",
    "partitions.revoked": "the group took partitions",
    "partitions.lost": "the group took partitions without asking",
    "partition.first_start": "a new group's offsets",
    "partition.stopped": "a partition is not read, and why",
    "partition.tried_again": "a stopped partition is tried again",
    "partition.held": "records need a schema that is being looked up, or are not due",
    "partition.released": "it is read on",
    "partition.breaker_open": "too many dead letters: it is held, and why",
    "partition.probing": "a few records of a held partition are tried",
    "partition.breaker_closed": "the probe fared better: it goes on",
    "kafka.unwell": "something failed",
    "kafka.recovered": "a new producer and the committed offsets are in place",
    "kafka.client": "the client library's own warnings, one of a kind in ten seconds",
    "producer.replaced": "a commit's request may have been sent twice",
    "offsets.commit_failed": "at least once: the next commit covers it",
    "contracts.taken": "newer contracts are in use",
    "contracts.refused": "newer contracts do not fit, and those before stay in use",
    "contracts.versions_found": "the registry has new versions",
    "contracts.id_denied": "the registry says that an id is not there",
    "contracts.unwell": "the registry does not answer, and why",
    "contracts.recovered": "it answers again",
    "contracts.content_changed": "an id or version now has other content: refused, the known stays",
    "contracts.version_unusable": "a version that no worker can read",
    "contracts.subject_missing": "a subject is gone",
    "contracts.cache_unwell": "the disk cache cannot be used",
    "model.loaded": "a version that the store names was proven and loaded",
    "model.refused": "a version failed its checks, and the one before goes on",
    "model.compiled": "its trees run as machine code, proven ([inference.md](inference.md))",
    "model.not_compiled": "LightGBM scores on, and why",
    "model.served": "the loop scores with it from this batch on",
    "model.does_not_fit": "it does not fit the contracts, and the one before goes on",
    "model.canary": "the challenger decides for a share of the keys, and which",
    "model.canary_ended": "it does no more",
    "model.bypassed": "decisions are the fallback, and why",
    "model.resumed": "the model decides again",
    "model.store_unwell": "the aliases cannot be read; what serves goes on",
    "model.not_kept": "`models.cache` could not be written: a start while the store is down may "
    "fail",
    "shadow.started": "a challenger is compared from now on",
    "shadow.ended": "it is a challenger no more",
    "shadow.refused": "the challenger failed its checks",
    "shadow.does_not_fit": "it reads fields that the champion does not: nothing is compared",
    "shadow.failed": "its process hung, crashed or answered nonsense, and is started again",
    "shadow.gave_up": "it is not started again, after three in a row",
    "crash.noted": "the last life ended in these offsets, which are done one by one",
    "crash.found": "the last life ended in this record alone, and how often",
    "crash.not_noted": "the file of those notes cannot be written: records go on, but one that "
    "ends the process would not be found",
    "telemetry.unwell": "the collector does not take what is sent; the stream does not notice",
    "telemetry.recovered": "it does again",
    "worker.paused": "somebody's word: what is not read, who, when and why",
    "worker.resumed": "that word is over",
    "health.listening": "the endpoints answer, and where",
    "health.unavailable": "their port cannot be had; records go on",
    "health.snapshot_failed": "a fault of ours: the endpoints show what was known before; records "
    "go on",
    "gateway.started": "it serves: of the gateway and the proxy, as all that begin so",
    "gateway.stopping": "it was told to end",
    "gateway.stopped": "it has ended, with counts",
    "gateway.progress": "every ten seconds: counts",
    "gateway.log_down": "the decisions topic cannot be written, and why",
    "gateway.log_up": "it can again",
    "gateway.spilled": "decisions go to disk, the first time in a life",
    "gateway.replayed": "a segment of them is in the topic, how many of it had to be written",
    "gateway.keys_down": "the topic of Idempotency-Keys cannot be written or read",
    "gateway.keys_up": "it can again",
    "gateway.admin": "an act of an operator, as in the audit",
    "gateway.jwks_unwell": "the issuer's keys cannot be fetched; those that are known stay",
    "gateway.bug": "an error of ours, by its type",
    "process.ended": "of `--processes`: a process ended, with its code",
}
"""Each with when it is logged."""
