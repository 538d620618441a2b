"""What telemetry costs where nothing is wrong: the path with it and without, turn by turn.

`python -m benchmarks.telemetry` runs it alone and puts its table into docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

from benchmarks.rig import ROOT, framed_flights
from benchmarks.shadow import of_values
from workers.contracts.codec import Decoder
from workers.contracts.directory import read_directory
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.models.bundle import read_bundle
from workers.models.model import Model
from workers.models.reference import reference_of
from workers.stream.clock import SystemClock
from workers.stream.drifting import Drifting
from workers.stream.journal import Journal
from workers.stream.logs import configure_logging
from workers.stream.outgoing import held_to_size
from workers.stream.recorder import Recorder
from workers.stream.times import Times
from workers.stream.tracing import Traces
from workers.telemetry.otlp import Exports
from workers.telemetry.registry import Registry
from workers.telemetry.settings import Collector, Identity
from workers.telemetry.spans import Exporting, NoExports
from workers.telemetry.steps import untimed
from workers.topology import Worker, load
from workers.wiring import pick, policy_of

SIZES = (100, 1_000, 4_000)
TURNS = 24
EVENTS = 8_000
"""Of each size and mode in a turn."""
INTERVAL = 1.0
"""Seconds between two exports: fifteen times as often as by default."""
TITLE = "## Telemetry where nothing is wrong"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of the whole process an event, the best of the turns without telemetry; and
    how much more it is with it, the median of the turns' own ratios.
    """

    off: float
    on: float
    dead: float
    slow: float

    @classmethod
    def of(cls, spent: Mapping[str, Sequence[float]]) -> Cost:
        """From the turns of each way: what a machine does slowly for a while, it does to all."""
        more = {
            name: statistics.median(b / a for a, b in zip(spent["off"], spent[name], strict=True))
            for name in ("on", "dead", "slow")
        }
        return cls(min(spent["off"]), **more)


@contextmanager
def _dead() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def _slow() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Path:
    """What a loop does of a batch between its poll and its publish, and after it."""

    def __init__(self, worker: Worker, enricher: Enricher, exports: Exporting | None) -> None:
        """`exports` None: without telemetry."""
        self._enricher, self._limit = enricher, worker.output.max_message_bytes
        self._clock, registry = SystemClock(), Registry()
        self._journal = Journal(self._clock, registry)
        self._recorder = exports and Recorder(
            worker=worker,
            registry=registry,
            journal=self._journal,
            clock=self._clock,
            drifting=Drifting(worker.drift),
            traces=Traces(worker, exports.tracing, self._clock),
            exports=exports,
        )

    def batch(self, batch: Batch) -> None:
        """One."""
        began, recorder = self._clock.monotonic(), self._recorder
        self._enricher.lap = untimed if recorder is None else recorder.lap
        if recorder is not None:
            recorder.polled(len(batch), Times(began, began, began))
        outcomes = held_to_size(self._enricher.enrich(batch), self._limit)
        over = self._clock.monotonic()
        self._journal.committed(outcomes)
        if recorder is not None:
            times = Times(began, began, over, over)
            recorder.settled(outcomes, (), times, recorder.steps())


def telemetry(values: list[bytes]) -> dict[int, Cost]:
    """By batch size: without, with, and with a collector that is dead or does not answer."""
    topology = load(ROOT / "topology.yaml", {})
    worker = pick(topology, None)
    enricher = _enricher(worker, values)
    with _dead() as dead, _slow() as slow, tempfile.TemporaryFile("w") as log:
        ways: dict[str, AbstractContextManager[Exporting | None]] = {
            "off": nullcontext(None),
            "on": nullcontext(NoExports()),
        }
        found = {}
        with contextlib.redirect_stderr(log):
            configure_logging()
            for size in SIZES:
                spent: dict[str, list[float]] = {name: [] for name in ("off", "on", "dead", "slow")}
                batch = of_values(values[:size])
                for turn in range(TURNS):
                    # Whoever comes second finds the caches warm: they take turns at that too.
                    for name in sorted(spent, reverse=turn % 2 == 1):
                        address = {"dead": dead, "slow": slow}.get(name)
                        exporting = ways.get(name) or _sending(address or "")
                        spent[name].append(_turn(worker, enricher, batch, exporting))
                found[size] = Cost.of(spent)
    return found


@contextmanager
def _sending(address: str) -> Iterator[Exporting]:
    target = Collector(metrics=f"{address}/v1/metrics", traces=f"{address}/v1/traces", ratio=0.05)
    clock, registry = SystemClock(), Registry()
    exports = Exports(
        replace(target, interval=INTERVAL),
        Identity("bench", "0", "0"),
        {"bench": registry},
        lambda *_: None,
        clock.now,
    )
    exports.start()
    try:
        yield exports
    finally:
        exports.close()


def _turn(
    worker: Worker,
    enricher: Enricher,
    batch: Batch,
    exporting: AbstractContextManager[Exporting | None],
) -> float:
    with exporting as exports:
        path, rounds = _Path(worker, enricher, exports), EVENTS // len(batch)
        path.batch(batch)
        gc.collect()
        began = time.process_time()
        for _ in range(rounds):
            path.batch(batch)
        return (time.process_time() - began) * 1e6 / (rounds * len(batch))


def _enricher(worker: Worker, values: list[bytes]) -> Enricher:
    """The worker's path; its model has a reference, so that there is drift to look for."""
    contracts = read_directory(ROOT / "schemas").catalogue
    bundle = read_bundle(ROOT / "models", "flight-delay", "1")
    schema = contracts.versions("flights-value")[1].schema
    table = Decoder(schema).decode([value[5:] for value in values[:20_000]]).table
    plain = Model(bundle)
    scored = plain.score(table)
    reference = reference_of(plain.features.ordered, scored.matrix, scored.scores)
    return Enricher(policy_of(worker), contracts, Model(replace(bundle, reference=reference)))


def table(found: dict[int, Cost]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        TITLE,
        "",
        "CPU of the whole process, µs/event: the path with its counts (decode to splice, no Kafka, "
        "so that shares are higher than a worker's), and with all of telemetry: registry, steps, "
        "histograms, drift, the line a batch. Then with a collector that is dead and with one that "
        f"never answers, metrics every {INTERVAL:g} s and every twentieth batch traced. Turn by "
        f"turn in one process, {TURNS} turns: the median of how much more a turn took than the one "
        "without beside it.",
        "",
        "| batch | without | with | collector dead | collector hangs |",
        "|---|---|---|---|---|",
    ]
    for size, cost in found.items():
        cells = [f"{more - 1:+.1%}" for more in (cost.on, cost.dead, cost.slow)]
        lines.append(f"| {size:,} | {cost.off:.2f} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print, put the section in its place."""
    lines = table(telemetry(framed_flights()))
    print("\n".join(lines))
    page = ROOT / "docs" / "benchmarks.md"
    before, _, after = page.read_text().partition(f"\n{TITLE}\n")
    rest = after[after.find("\n## ") :] if "\n## " in after else ""
    page.write_text(before.rstrip("\n") + "\n" + "\n".join(lines) + "\n" + rest)


if __name__ == "__main__":
    main()
