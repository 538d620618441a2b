"""What a topic promises its readers, in words: one place, so that all documents say the same."""

from __future__ import annotations

from workers.contracts.derive import BLOCK_FIELD
from workers.contracts.subject import Compatibility, Role
from workers.governance.documents.topics import Topic
from workers.topology import Delivery, HeaderPolicy, Partitioning, Shape, Tombstones, Worker

_MODES = {
    "NONE": "None is promised: a new version may change anything.",
    "BACKWARD": "Whoever reads with a new version can read records of {earlier}. Readers move to a "
    "new version before writers do.",
    "FORWARD": "Whoever reads with {earlier} can read records of a new one. Writers move to a new "
    "version before readers do.",
    "FULL": "Whoever reads with a new version can read records of {earlier}, and the other way "
    "round. Readers and writers move when they like; new fields have defaults.",
}


def compatibility(mode: Compatibility) -> str:
    """What a registry's mode means for a reader."""
    earlier = "every earlier version" if mode.transitive else "the version before"
    return _MODES[mode.value.removesuffix("_TRANSITIVE")].format(earlier=earlier)


def guarantee(worker: Worker, role: str) -> str:
    """How a worker delivers to its topic of that role, as one word."""
    return "best_effort" if role == Role.COMPARISONS else worker.delivery.value


def isolation(worker: Worker, role: str) -> str:
    """The isolation level that a reader of this worker's topic of that role needs."""
    exactly = guarantee(worker, role) == Delivery.EXACTLY_ONCE
    return "read_committed" if exactly else "read_uncommitted"


def delivery(topic: Topic, worker: Worker) -> str:
    """What a reader may count on, and what it must do for it."""
    if topic.about.role is Role.COMPARISONS:
        return (
            "Best effort, outside of the worker's transactions: a comparison that cannot be made "
            "or sent at once is left out, and never holds up an event."
        )
    if worker.delivery is Delivery.EXACTLY_ONCE:
        return (
            "`exactly_once`: a record is written in one transaction with the input's offsets. Read "
            "with `isolation.level=read_committed`; the other level shows records of transactions "
            "that were aborted, and so shows some of them twice."
        )
    drop = (
        f"drop a record whose `{topic.decision_id}` you have seen"
        if topic.decision_id
        else "drop a record whose `__connect.errors.topic`, `partition` and `offset` you have seen"
    )
    return (
        "`at_least_once`: nothing is lost, and after a failure a record may come twice. "
        f"To have each once, {drop}."
    )


def key(topic: Topic) -> str:
    """What the record's key is."""
    about = topic.about.key
    if topic.about.role is Role.DEAD_LETTER:
        return "The failed record's, byte for byte."
    if about is None:
        return "Nothing is said of it."
    field = f"The field `{about.field}`. " if about.field else ""
    return f"{field}{about.description or ''} Format: {about.format}.".strip()


def headers(topic: Topic, worker: Worker) -> str:
    """What becomes of the input record's headers."""
    if topic.about.role is Role.DEAD_LETTER:
        return "The failed record's own, then those listed below."
    if topic.about.role in (Role.DECISIONS, Role.COMPARISONS):
        return "None."
    if worker.output.shape is Shape.HEADERS:
        named = ", ".join(f"`{block}.<field>`" for block in (BLOCK_FIELD, *worker.blocks))
        return (
            f"The input record's, unchanged and in their order, then the decision's: {named}, the "
            "last of a name counts."
        )
    if worker.headers is HeaderPolicy.DROP:
        return "None: the input's are dropped."
    return (
        "The input record's, unchanged and in their order, `traceparent` among them; without "
        "`__value_schema_id`, because the schema id stands before the value."
    )


def without_value(worker: Worker) -> str:
    """What a record without value means on the output topic."""
    if worker.tombstones is not Tombstones.FORWARD:
        return ""
    return "A record without value (a tombstone) was one in the input: it says the key is gone."


def partition(worker: Worker) -> str:
    """How the output's partition is chosen."""
    if worker.output.partitioning is Partitioning.SAME:
        return "The partition has the input partition's number."
    return "The partition follows from the key by murmur2, as the Java client has it."
