"""Sends the traffic in a thread, no faster than the worker takes it, and reads what comes out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.contracts.codec import Decoder
from workers.testing import OutRecord, Reader, Sender, Sent

AHEAD = 24_000
"""Records sent and not yet seen again, at most: the embedded broker keeps 5 MB of a partition."""
SLICE = 2_000


@dataclass(slots=True)
class SeenState:
    """What a downstream reader has seen so far."""

    sent: int = 0
    enriched: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    dead: list[OutRecord] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    examples: dict[str, OutRecord] = field(default_factory=dict)

    @property
    def out(self) -> int:
        """Records that came out, either way."""
        return self.enriched + len(self.dead)

    @property
    def lag(self) -> int:
        """Records sent that are not out yet."""
        return self.sent - self.out

    @property
    def verdicts(self) -> dict[str, int]:
        """Dead letters by verdict."""
        return dict(Counter(record.header("__workers.verdict") for record in self.dead))


class Replay:
    """One replay: a sender thread, and a reader that the caller drives with `step`."""

    def __init__(
        self, bootstrap_servers: str, topic: str, records: Sequence[Sent], decoder: Decoder
    ) -> None:
        """`decoder` reads the enriched events."""
        self.state = SeenState()
        self.failed: BaseException | None = None
        self._servers = bootstrap_servers
        self._topic = topic
        self._records = records
        self._decoder = decoder
        self._room = threading.Condition()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def _send(self) -> None:
        try:
            sender = Sender(self._servers)
            for start in range(0, len(self._records), SLICE):
                part = self._records[start : start + SLICE]
                with self._room:
                    self._room.wait_for(lambda: self.state.lag < AHEAD)
                for sent in part:
                    sender.send(self._topic, sent)
                sender.flush()
                self.state.sent += len(part)
        except RuntimeError as error:
            self.failed = error

    def step(self, reader: Reader, seconds: float) -> None:
        """Take what has come out since."""
        got = reader.read(seconds)
        reader.records.clear()
        dead = [record for record in got if record.topic.endswith(".dlq")]
        enriched = [record for record in got if not record.topic.endswith(".dlq")]
        self._take(enriched)
        with self._room:
            self.state.dead.extend(dead)
            self.state.enriched += len(enriched)
            self._room.notify_all()

    def _take(self, records: list[OutRecord]) -> None:
        if not records:
            return
        # Framed by the worker: five bytes, then the datum.
        table = self._decoder.decode([(record.value or b"")[5:] for record in records]).table
        events, blocks = table.column("flight_id").to_pylist(), table.column("enrichment")
        decisions = blocks.field("decision").to_pylist()
        self.state.decisions.update(decisions)
        self.state.ids.update(blocks.field("decision_id").to_pylist())
        self.state.scores.update(zip(events, blocks.field("score").to_pylist(), strict=True))
        for record, decision in zip(records, decisions, strict=True):
            self.state.examples.setdefault(decision, record)

    @property
    def done(self) -> bool:
        """Everything is sent and out."""
        return self.state.sent == len(self._records) and self.state.lag == 0
