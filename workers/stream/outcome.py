"""How publishes end, counted around the publisher."""

from __future__ import annotations

from collections.abc import Iterator

from workers.errors import Fenced, Halt, Retry
from workers.stream.clock import Clock
from workers.stream.failures import Moved, Refused, TopicRefused
from workers.stream.publish import Failpoint, Publisher
from workers.stream.work import Work
from workers.telemetry import names
from workers.telemetry.registry import Registry, Sample
from workers.topology import Delivery, Worker


def cause_of(unwell: Retry) -> str:
    """What kind of trouble it is."""
    match unwell:
        case TopicRefused():
            return "topic_refused"
        case Refused():
            return "record_refused"
        case Moved():
            return "moved"
        case _:
            return "unwell"


class Passed:
    """Where a publish has come to; and calls another one on the way."""

    def __init__(self, at: Failpoint) -> None:
        """Nowhere yet."""
        self._at = at
        self.last = ""

    def __call__(self, place: str) -> None:
        """It is there now."""
        self.last = place
        self._at(place)


class Counted:
    """A publisher, with its publishes counted and timed. Called as that is: by one thread."""

    def __init__(
        self, publisher: Publisher, passed: Passed, worker: Worker, registry: Registry, clock: Clock
    ) -> None:
        """`passed` is what the publisher calls on its way."""
        self._publisher = publisher
        self._passed = passed
        self._registry = registry
        self._clock = clock
        self._once = worker.delivery is Delivery.EXACTLY_ONCE
        self._call = ("kafka", "publish", "send", worker.output.topic, worker.group)

    @property
    def queued(self) -> int:
        """See `Publisher`."""
        return self._publisher.queued

    def renew(self) -> None:
        """See `Publisher`."""
        self._publisher.renew()

    def publish(self, work: Work) -> None:
        """See `Publisher`."""
        began, self._passed.last = self._clock.monotonic(), ""
        try:
            self._publisher.publish(work)
        except Fenced:
            self._over(began, "fenced", "halt")
            raise
        except Halt:
            self._over(began, "failed", "halt")
            raise
        except Retry as unwell:
            cause = cause_of(unwell)
            unclear = cause == "unwell" and self._passed.last == "committing"
            self._over(began, "unclear" if unclear else "failed", cause)
            raise
        self._over(began, "committed", "")

    def _over(self, began: float, result: str, error: str) -> None:
        if self._once:
            self._registry.add(names.TRANSACTIONS, 1, result)
        seconds = self._clock.monotonic() - began
        self._registry.record(names.OPERATION_DURATION, seconds, *self._call, error)

    def samples(self) -> Iterator[Sample]:
        """What waited to be sent."""
        yield names.PRODUCER_QUEUE, (), self.queued
