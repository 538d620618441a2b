"""The brokers that drills run on, and what each of them can show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workers.drills.choices import BrokerChoice
from workers.errors import BrokerUnreachable
from workers.testing import EmbeddedBroker, RealKafka, real_kafka
from workers.testing.kafka import LocalProcess, NoKafka

AnyBroker = EmbeddedBroker | RealKafka


@contextmanager
def broker(choice: BrokerChoice, *, ours: bool) -> Iterator[AnyBroker]:
    """A broker of that kind; with `ours` a real one is a process that may be killed.

    Raises:
        BrokerUnreachable: there is no real one to be had; says what is missing.
    """
    try:
        if choice is BrokerChoice.EMBEDDED:
            made: AnyBroker = EmbeddedBroker()
        else:
            made = RealKafka(LocalProcess()) if ours else real_kafka()
    except NoKafka as none:
        raise BrokerUnreachable(str(none)) from none
    with made:
        yield made


def described(broker: AnyBroker) -> str:
    """For the report."""
    if isinstance(broker, EmbeddedBroker):
        return "the embedded broker (librdkafka's mock cluster)"
    return f"Apache Kafka at {broker.bootstrap_servers}"
