"""Every error code of the client has exactly one meaning."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from workers.errors import ClientHalt, Fenced, Halt, Retry
from workers.stream.failures import (
    CODES,
    MEANINGS,
    Meaning,
    Moved,
    Refused,
    TopicRefused,
    meaning,
    translate,
    translated,
)


def test_every_code_is_in_the_table_once() -> None:
    """A new client version that names a new code fails here, not in production."""
    listed = [name for names in MEANINGS.values() for name in names.split()]

    assert sorted(listed) == sorted(CODES.values())
    assert len(CODES) > 180


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, Retry),
        (KafkaError.NOT_ENOUGH_REPLICAS, Retry),
        (KafkaError.ILLEGAL_GENERATION, Moved),
        (KafkaError.STALE_MEMBER_EPOCH, Moved),
        (KafkaError.MSG_SIZE_TOO_LARGE, Refused),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, TopicRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, TopicRefused),
        (KafkaError._FENCED, Fenced),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ClientHalt),
        (KafkaError._STATE, ClientHalt),
    ],
)
def test_an_error_is_named_for_the_next_move(code: int, kind: type[Exception]) -> None:
    """The text has the code's name and what was being done."""
    error = translate(KafkaError(code), "doing a thing")

    assert type(error) is kind
    assert CODES[code] in str(error)
    assert "while doing a thing" in str(error)


def test_an_unknown_code_halts() -> None:
    """What nobody understands is not retried."""
    assert meaning(KafkaError(-12345)) is Meaning.HALT


def test_the_clients_exceptions_become_ours() -> None:
    """`translated` is the one place."""
    with pytest.raises(Halt, match=r"check broker\.security\.sasl"), translated("connecting"):
        raise KafkaException(KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED))
