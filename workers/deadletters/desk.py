"""A worker's dead letters at hand: read, opened, and held against the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workers.enrich.batch import Batch
from workers.errors import ClientHalt, Retry, TopologyError
from workers.stream.deadletters import SEALED
from workers.stream.ledger import LedgerState
from workers.stream.letters import Letter, Wanted, letters_of
from workers.stream.ranges import Edge
from workers.topology import Topology, Worker
from workers.wiring import build_range_reader

Progress = Callable[[int], None]


class Desk:
    """One worker's dead-letter topic, as it is now. Nothing of it is committed or changed."""

    def __init__(self, topology: Topology, worker: Worker, progress: Progress) -> None:
        """Nothing is read before it is asked for; `progress` is told how many were read.

        Raises:
            ClientHalt: the key of encrypted values cannot be used.
        """
        self.topology = topology
        self.worker = worker
        self._progress = progress
        self._open = _opener(worker)

    def letters(self, wanted: Wanted) -> Iterator[list[Letter]]:
        """Those that are meant, in batches, in the order of each partition.

        Raises:
            BrokerUnreachable: the broker does not answer.
            ClientHalt: it refuses us, or the topic is missing.
        """
        read = 0
        for batch in self._batches(self.worker.dead_letter.topic):
            read += len(batch)
            self._progress(read)
            if found := [letter for letter in letters_of(batch) if wanted.takes(letter)]:
                yield found

    def ledger(self) -> LedgerState:
        """What was done so far; empty where the topology has no ledger.

        Raises:
            BrokerUnreachable: or ClientHalt, as `letters`.
        """
        state = LedgerState()
        if self.worker.dead_letter.ledger is not None:
            for batch in self._batches(self.worker.dead_letter.ledger.topic):
                state.take(batch)
        return state

    def ledger_topic(self) -> str:
        """Where to write what is done.

        Raises:
            TopologyError: the topology names none.
        """
        ledger = self.worker.dead_letter.ledger
        if ledger is None:
            raise TopologyError(
                f"workers.{self.worker.name}.dead_letter.ledger is not set: without it nobody "
                "would know what was replayed, and it would be replayed again"
            )
        return ledger.topic

    def value(self, letter: Letter) -> bytes | None:
        """The value as the record had it, decrypted where it is sealed.

        Raises:
            Retry: it is sealed, and cannot be opened.
        """
        if not letter.sealed or letter.value is None:
            return letter.value
        if self._open is None:
            raise Retry("it is encrypted, and the topology names no key")
        return self._open(letter.value, letter.said[SEALED].encode(), str(letter.origin))

    def _batches(self, topic: str) -> Iterator[Batch]:
        reader, partitions = build_range_reader(self.topology, self.worker, topic)
        try:
            spans = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST)
            yield from reader.read(spans)
        finally:
            reader.close()


def _opener(worker: Worker) -> Callable[[bytes, bytes, str], bytes] | None:
    settings = worker.dead_letter.encryption
    if settings is None:
        return None
    try:
        # Imported here: `cryptography` is an extra.
        from workers.stream.sealing import Opener, keys_of
    except ImportError as error:
        raise ClientHalt(f"reading them needs the extra `encryption`: {error}") from error
    return Opener(keys_of(settings)).open
