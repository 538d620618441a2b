"""What a Kafka error means for the caller, decided once: every code the client names is here.

The client's own `retriable()` flag is not used: it is false on errors the client did not raise
itself. A code this table lacks is a `Halt`, as librdkafka's documentation asks of an error that is
not understood (INTRODUCTION.md, "Transactional Producer / Error handling").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from confluent_kafka import KafkaError, KafkaException

from workers.errors import ClientHalt, Fenced, Halt, Retry


class Meaning(StrEnum):
    """What to do after an error."""

    UNWELL = "unwell"
    """The cluster or the way to it is unwell: back off, try the same again."""
    MOVED = "moved"
    """The group or the transaction went on without us: drop the batch, read again."""
    RECORD = "record"
    """A record is refused for good: find it, dead-letter it."""
    TOPIC = "topic"
    """A topic refuses everything: stop the partitions that need it."""
    FENCED = "fenced"
    """Another process carries our identity."""
    HALT = "halt"
    """Trying again cannot help until a person acts."""


class Moved(Retry):
    """The group gave the partitions to another member, or the transaction is void."""


class Refused(Retry):
    """The broker refuses a record for good."""


class TopicRefused(Retry):
    """The broker refuses a whole topic: it is missing, or we may not write to it."""

    def __init__(self, text: str, topic: str = "") -> None:
        super().__init__(text)
        self.topic = topic


_ERRORS: dict[Meaning, type[Retry | Halt]] = {
    Meaning.UNWELL: Retry,
    Meaning.MOVED: Moved,
    Meaning.RECORD: Refused,
    Meaning.TOPIC: TopicRefused,
    Meaning.FENCED: Fenced,
    Meaning.HALT: ClientHalt,
}
MEANINGS: Mapping[Meaning, str] = {
    Meaning.UNWELL: """
        BROKER_NOT_AVAILABLE CONCURRENT_TRANSACTIONS COORDINATOR_LOAD_IN_PROGRESS
        COORDINATOR_NOT_AVAILABLE ELECTION_NOT_NEEDED ELIGIBLE_LEADERS_NOT_AVAILABLE
        FENCED_LEADER_EPOCH FETCH_SESSION_ID_NOT_FOUND GROUP_ID_NOT_FOUND INCONSISTENT_TOPIC_ID
        INCONSISTENT_VOTER_SET INVALID_FETCH_SESSION_EPOCH INVALID_MSG INVALID_SHARE_SESSION_EPOCH
        KAFKA_STORAGE_ERROR LEADER_NOT_AVAILABLE LISTENER_NOT_FOUND LOG_DIR_NOT_FOUND
        MEMBER_ID_REQUIRED NETWORK_EXCEPTION NOT_CONTROLLER NOT_COORDINATOR NOT_ENOUGH_REPLICAS
        NOT_ENOUGH_REPLICAS_AFTER_APPEND NOT_LEADER_FOR_PARTITION NO_REASSIGNMENT_IN_PROGRESS
        OFFSET_NOT_AVAILABLE OPERATION_NOT_ATTEMPTED PREFERRED_LEADER_NOT_AVAILABLE
        REASSIGNMENT_IN_PROGRESS REBOOTSTRAP_REQUIRED REPLICA_NOT_AVAILABLE REQUEST_TIMED_OUT
        SHARE_SESSION_LIMIT_REACHED SHARE_SESSION_NOT_FOUND STALE_BROKER_EPOCH STALE_CTRL_EPOCH
        THROTTLING_QUOTA_EXCEEDED UNKNOWN UNKNOWN_CONTROLLER_ID UNKNOWN_LEADER_EPOCH
        UNKNOWN_TOPIC_ID UNSTABLE_OFFSET_COMMIT
        _ALL_BROKERS_DOWN _BAD_COMPRESSION _BAD_MSG _CRIT_SYS_RESOURCE _DESTROY_BROKER _FAIL _FS
        _INTR _IN_PROGRESS _ISR_INSUFF _MSG_TIMED_OUT _NODE_UPDATE _PARTIAL _PREV_IN_PROGRESS
        _QUEUE_FULL _RESOLVE _RETRY _TIMED_OUT _TIMED_OUT_QUEUE _TRANSPORT _UNDERFLOW
        _UNKNOWN_BROKER _WAIT_CACHE _WAIT_COORD _CONFLICT _DESTROY _PARTITION_EOF _NO_OFFSET
        _NOOP _OUTDATED _PURGE_INFLIGHT _PURGE_QUEUE
    """,
    Meaning.MOVED: """
        DUPLICATE_SEQUENCE_NUMBER FENCED_MEMBER_EPOCH ILLEGAL_GENERATION INVALID_PRODUCER_ID_MAPPING
        INVALID_TXN_STATE OUT_OF_ORDER_SEQUENCE_NUMBER REBALANCE_IN_PROGRESS STALE_MEMBER_EPOCH
        TRANSACTION_ABORTABLE TRANSACTION_COORDINATOR_FENCED UNKNOWN_MEMBER_ID UNKNOWN_PRODUCER_ID
        OFFSET_OUT_OF_RANGE
        _ASSIGNMENT_LOST _ASSIGN_PARTITIONS _AUTO_OFFSET_RESET _GAPLESS_GUARANTEE _INCONSISTENT
        _LOG_TRUNCATION _MAX_POLL_EXCEEDED _REVOKE_PARTITIONS
    """,
    Meaning.RECORD: """
        INVALID_MSG_SIZE INVALID_RECORD INVALID_TIMESTAMP MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE
        UNSUPPORTED_FOR_MESSAGE_FORMAT
    """,
    Meaning.TOPIC: """
        POLICY_VIOLATION TOPIC_AUTHORIZATION_FAILED TOPIC_EXCEPTION UNKNOWN_TOPIC_OR_PART
        UNSUPPORTED_COMPRESSION_TYPE
        _UNKNOWN_PARTITION _UNKNOWN_TOPIC
    """,
    Meaning.FENCED: """
        FENCED_INSTANCE_ID INVALID_PRODUCER_EPOCH PRODUCER_FENCED UNRELEASED_INSTANCE_ID _FENCED
    """,
    Meaning.HALT: """
        CLUSTER_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED
        DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED DELEGATION_TOKEN_NOT_FOUND
        DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DUPLICATE_RESOURCE
        DUPLICATE_VOTER FEATURE_UPDATE_FAILED FENCED_STATE_EPOCH GROUP_AUTHORIZATION_FAILED
        GROUP_MAX_SIZE_REACHED GROUP_SUBSCRIBED_TO_TOPIC ILLEGAL_SASL_STATE
        INCONSISTENT_GROUP_PROTOCOL INVALID_COMMIT_OFFSET_SIZE INVALID_CONFIG INVALID_GROUP_ID
        INVALID_PARTITIONS INVALID_PRINCIPAL_TYPE INVALID_RECORD_STATE INVALID_REGISTRATION
        INVALID_REGULAR_EXPRESSION INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT
        INVALID_REQUEST INVALID_REQUIRED_ACKS INVALID_SESSION_TIMEOUT INVALID_TRANSACTION_TIMEOUT
        INVALID_UPDATE_VERSION INVALID_VOTER_KEY MISMATCHED_ENDPOINT_TYPE NON_EMPTY_GROUP NO_ERROR
        OFFSET_METADATA_TOO_LARGE PRINCIPAL_DESERIALIZATION_FAILURE RESOURCE_NOT_FOUND
        SASL_AUTHENTICATION_FAILED SECURITY_DISABLED STREAMS_INVALID_TOPOLOGY
        STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED TELEMETRY_TOO_LARGE
        TOPIC_ALREADY_EXISTS TOPIC_DELETION_DISABLED TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        UNACCEPTABLE_CREDENTIAL UNKNOWN_SUBSCRIPTION_ID UNSUPPORTED_ASSIGNOR
        UNSUPPORTED_ENDPOINT_TYPE UNSUPPORTED_SASL_MECHANISM UNSUPPORTED_VERSION VOTER_NOT_FOUND
        _APPLICATION _AUTHENTICATION _EXISTING_SUBSCRIPTION _FATAL _INVALID_ARG
        _INVALID_DIFFERENT_RECORD _INVALID_TYPE _KEY_DESERIALIZATION _KEY_SERIALIZATION _NOENT
        _NOT_CONFIGURED _NOT_IMPLEMENTED _READ_ONLY _SSL _STATE _UNKNOWN_GROUP _UNKNOWN_PROTOCOL
        _UNSUPPORTED_FEATURE _VALUE_DESERIALIZATION _VALUE_SERIALIZATION
    """,
}
"""Names of codes by what they mean, each once."""

_BY_NAME = {name: meaning for meaning, names in MEANINGS.items() for name in names.split()}
_REMEDY = {
    "GROUP_AUTHORIZATION_FAILED": "allow READ on the consumer group",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "allow WRITE and DESCRIBE on the transactional id",
    "CLUSTER_AUTHORIZATION_FAILED": "allow IDEMPOTENT_WRITE on the cluster",
    "SASL_AUTHENTICATION_FAILED": "check broker.security.sasl",
    "_AUTHENTICATION": "check broker.security",
    "_SSL": "check broker.security.tls",
    "INVALID_TRANSACTION_TIMEOUT": (
        "transaction_timeout is over the broker's transaction.max.timeout.ms"
    ),
    "TOPIC_AUTHORIZATION_FAILED": "allow WRITE on the outputs and READ on the input",
    "UNKNOWN_TOPIC_OR_PART": "create the topic: workers never do",
    "_UNKNOWN_TOPIC": "create the topic: workers never do",
}
CODES = {
    getattr(KafkaError, name): name
    for name in dir(KafkaError)
    if name.lstrip("_")[:1].isupper() and isinstance(getattr(KafkaError, name), int)
}
"""Every error code the client names, by number."""


def meaning(error: KafkaError) -> Meaning:
    """What to do after `error`."""
    return _BY_NAME.get(CODES.get(error.code(), ""), Meaning.HALT)


def translate(error: KafkaError, doing: str) -> Retry | Halt:
    """Our error for the client's, named for the caller's next move."""
    name = CODES.get(error.code(), str(error.code()))
    text = f"while {doing}: {name}: {error.str()}"
    if remedy := _REMEDY.get(name):
        text = f"{text} ({remedy})"
    return _ERRORS[meaning(error)](text)


_ANSWER = re.compile(r"(Failed to acquire SASL OAUTHBEARER token: )(.*)", re.DOTALL)
_CODE = re.compile(r'"error"\s*:\s*"([\w.-]{1,64})"')


def without_answer(line: str) -> str:
    """A line of the client's without what a token server answered, but for its error's code.

    Nobody knows what else a server repeats of the request.
    """
    found = _ANSWER.search(line)
    if found is None or not found[2].lstrip().startswith("{"):
        return line
    code = _CODE.search(found[2])
    return f"{line[: found.start(2)]}{code[1] if code else 'refused'}"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The one place where the client's exceptions become ours.

    Raises:
        Retry: or one of its kinds, by the table.
        Halt: likewise.
    """
    try:
        yield
    except KafkaException as error:
        raise translate(error.args[0], doing) from error
