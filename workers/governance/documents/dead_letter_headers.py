"""Headers of a dead letter, and what they mean: the names come from the code that writes them."""

from __future__ import annotations

from dataclasses import replace

from workers.enrich.batch import Batch, Rejection
from workers.errors import Code, Reject, Verdict
from workers.stream.deadletters import CONNECT, OURS, SEALED, Origin, dead_letter

_MEANING = {
    f"{CONNECT}topic": "Topic of the failed record.",
    f"{CONNECT}partition": "Its partition.",
    f"{CONNECT}offset": "Its offset.",
    f"{CONNECT}connector.name": "The worker.",
    f"{CONNECT}task.id": "Which replica of it.",
    f"{CONNECT}stage": "Where it failed, in Kafka Connect's words.",
    f"{CONNECT}class.name": "The class that refused it.",
    f"{CONNECT}exception.class.name": "The error's class.",
    f"{CONNECT}exception.message": "Why, for people: field and place, never content.",
    f"{OURS}verdict": "Why, in one word: see the table of verdicts.",
    f"{OURS}code": "Why, exactly: stable, to be counted and filtered by.",
    f"{OURS}worker": "The worker.",
    f"{OURS}stage": "Where it failed, in our words.",
    f"{OURS}attempts": "How often it was tried.",
    f"{OURS}build": "The worker's release.",
    f"{OURS}failed_at": "When, in milliseconds UTC.",
    f"{OURS}timestamp": "The record's own timestamp, in milliseconds UTC.",
    f"{OURS}timestamp.type": "What it is: 0 none, 1 set by the producer, 2 set by the broker.",
    f"{OURS}schema.id": "The schema id that the record named, where it got so far.",
    f"{OURS}model": "The model, where it got so far.",
    f"{OURS}model.version": "The model's version, where it got so far.",
    f"{OURS}value.bytes": "Size of a value that is left out.",
    f"{OURS}value.sha256": "Its SHA-256.",
    SEALED: "The value is encrypted: key id, wrapped data key and nonce, as JSON.",
    f"{OURS}headers.dropped": "How many of the record's own headers are left out.",
    f"{OURS}key.bytes": "Size of a key that is left out.",
    f"{OURS}key.sha256": "Its SHA-256.",
}
VERDICTS = {
    Verdict.DECODE: ("The bytes are not a record of a schema.", "the producer"),
    Verdict.CONTRACT: (
        "The bytes name a schema that is unknown, of another subject, or cannot be enriched.",
        "the producer, or the owner of the contract",
    ),
    Verdict.FEATURE: (
        "A value that the model needs is missing or outside its range.",
        "the producer, or the owner of the model",
    ),
    Verdict.MODEL: (
        "The features are good and the model failed on them.",
        "the owner of the model",
    ),
    Verdict.OUTPUT: ("The enriched event could not be written.", "the operator of the worker"),
    Verdict.CRASH: ("The record ended the process twice, alone.", "the operator of the worker"),
    Verdict.PARKED: (
        "A record of the same key before it is a dead letter, and order is kept.",
        "the operator of the worker",
    ),
}
"""What each means, and who can mend it."""


def dead_letter_headers() -> dict[str, str]:
    """Header names in the order they are written, with what they mean.

    Dead letters are made to see them: a whole one, one of which everything is left out, one whose
    value is encrypted.
    """
    batch = Batch(
        topic="",
        now=0,
        keys=[b"key"],
        values=[b"value"],
        headers=[None],
        partitions=[0],
        offsets=[0],
        timestamps=[(1, 0)],
    )
    rejection = Rejection(Reject(Code.MALFORMED, ""), "", schema_id=0, model_version="")
    found: dict[str, str] = {}
    plain = Origin(topic="", worker="", instance="", build="", model="", limit=1_000_000)
    sealing = replace(plain, seal=lambda value, _: (value, (SEALED, b"")))
    for origin in (plain, replace(plain, limit=0), sealing):
        for name, _ in dead_letter(origin, batch, 0, rejection, 1)[3] or ():
            found[name] = _MEANING[name]
    return found
