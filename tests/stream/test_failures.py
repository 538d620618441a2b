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
    without_answer,
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


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            'Failed to acquire SASL OAUTHBEARER token: {"error": "invalid_client", "x": "hunter2"}',
            "Failed to acquire SASL OAUTHBEARER token: invalid_client",
        ),
        (
            'Failed to acquire SASL OAUTHBEARER token: {"error": "hunter2 hunter2", "x": 1}',
            "Failed to acquire SASL OAUTHBEARER token: refused",
        ),
        (
            "Failed to acquire SASL OAUTHBEARER token: Could not resolve host: h",
            "Failed to acquire SASL OAUTHBEARER token: Could not resolve host: h",
        ),
        ('1/1 brokers are down {"error": "x"}', '1/1 brokers are down {"error": "x"}'),
    ],
)
def test_of_a_token_servers_answer_only_the_code_is_kept(line: str, kept: str) -> None:
    """Nobody knows what else it repeats of our request."""
    assert without_answer(line) == kept
