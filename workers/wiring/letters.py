"""Dead letters: where they come from, how they are sealed, what replays them."""

from __future__ import annotations

from collections.abc import Callable

from workers import __version__
from workers.contracts.framing import Header
from workers.errors import ClientHalt, Retry, TopologyError
from workers.stream.clock import SystemClock
from workers.stream.deadletters import Origin
from workers.stream.journal import Journal
from workers.stream.outgoing import Outgoing
from workers.stream.publish import Publisher, nowhere
from workers.topology import Delivery, Retries, Topology, Worker
from workers.wiring.clients import publisher_of


def origin_of(worker: Worker, instance: str) -> Origin:
    """What signs a process's dead letters.

    Raises:
        ClientHalt: the key of encrypted ones cannot be used.
        TopologyError: the extra `encryption` is not installed.
    """
    return Origin(
        topic=worker.dead_letter.topic,
        worker=worker.known_as,
        instance=instance,
        build=__version__,
        model=worker.model.name,
        limit=worker.dead_letter.max_message_bytes,
        seal=_seal(worker),
    )


def _seal(worker: Worker) -> Callable[[bytes, str], tuple[bytes, Header]] | None:
    """How values of dead letters are encrypted, where they are.

    Raises:
        ClientHalt: the key cannot be used.
        Retry: it cannot be had now.
    """
    settings = worker.dead_letter.encryption
    if settings is None:
        return None
    try:
        # Imported here: `cryptography` is an extra.
        from workers.stream.sealing import Sealer, keys_of
    except ImportError as error:
        raise TopologyError(
            f"workers.{worker.name}.dead_letter.encryption needs the extra `encryption`: {error}"
        ) from error
    try:
        return Sealer(keys_of(settings), settings.key_id).seal
    except Retry as unwell:
        raise ClientHalt(f"dead_letter.encryption: {unwell}") from unwell


def build_replay(topology: Topology, worker: Worker) -> tuple[Publisher, Outgoing]:
    """What a replay of dead letters publishes with: transactions, under an id of replays alone.

    Nothing connects before `renew`.

    Raises:
        ClientHalt: the key of encrypted dead letters cannot be used.
    """
    clock = SystemClock()
    once = worker.model_copy(
        update={"delivery": Delivery.EXACTLY_ONCE, "instance": "dlq", "retries": Retries()}
    )
    journal = Journal(clock, worker=worker.name, instance="dlq")
    publisher = publisher_of(topology, once, 0, clock, journal, nowhere)
    return publisher, Outgoing(once, origin_of(once, "dlq.0"))
